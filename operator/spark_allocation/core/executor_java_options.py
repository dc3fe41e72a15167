"""The executor's Java options: what the user asks for, what Spark adds, and how they reach the container.

Theory of operation
-------------------
The image's entrypoint starts the executor with the values of SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1, … So one option is
one environment variable, and the driver splits the user's text as a shell would. Three sources meet, in this order:

1. ``spark.executor.defaultJavaOptions``, then ``spark.executor.extraJavaOptions``. When its SparkContext starts, the
   driver *rewrites* the second: it prepends the options without which Spark does not run on Java 17 (``--add-opens …``)
   and the choice of IP version. The configuration that the driver reports already holds them. Only when the whole value
   is masked must they be rebuilt: `rebuild_java_module_options`.
2. ``-D<key>=<value>`` for every setting that an executor needs before it can ask the driver for the rest
   (`is_executor_startup_conf`). Spark takes them in the order of a hash map; here they are sorted.

Source: ``BasicExecutorFeatureStep``, ``Utils.splitCommandString``, ``Utils.sparkJavaOpts``,
``SparkConf.isExecutorStartupConf``, ``SparkContext.supplementJavaModuleOptions``, ``launcher.JavaModuleOptions``.
"""

from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

_SPACES = " \t\r\n"
_ADD_OPENS = (
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.invoke=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.cs=ALL-UNNAMED",
    "--add-opens=java.base/sun.security.action=ALL-UNNAMED",
    "--add-opens=java.base/sun.util.calendar=ALL-UNNAMED",
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "-Djdk.reflect.useDirectMethodHandle=false",
)


def default_module_options(version: SparkVersion) -> tuple[str, ...]:
    """Spark's own options for a modular Java runtime (``JavaModuleOptions.defaultModuleOptions``)."""
    options = ["-XX:+IgnoreUnrecognizedVMOptions"]
    if version.at_least(4, 0):
        options.append("--add-modules=jdk.incubator.vector")
    options.extend(_ADD_OPENS)
    if version.at_least(4, 0):
        options.append("-Dio.netty.tryReflectionSetAccessible=true")
    if version.at_least(4, 1):
        options.append("-Dio.netty.allocator.type=pooled")
        options.append("-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE")
        options.append("--enable-native-access=ALL-UNNAMED")
    return tuple(options)


def rebuild_java_module_options(version: SparkVersion, *, prefer_ipv6: bool = False) -> str:
    """What the driver prepends to ``spark.executor.extraJavaOptions`` when its context starts.

    For the case that the driver's report masks the whole value: this text followed by the user's own options, from
    where they can be read, is the value again.

    Args:
        version: the driver's Spark version.
        prefer_ipv6: the driver's Java system property ``java.net.preferIPv6Addresses``.
    """
    ip_version = f"-Djava.net.preferIPv6Addresses={'true' if prefer_ipv6 else 'false'}"
    return " ".join((ip_version, *default_module_options(version)))


def split_command_string(text: str) -> list[str]:
    """Split options as a shell splits words: quotes group, a backslash escapes inside double quotes only.

    Source: ``Utils.splitCommandString``.
    """
    words: list[str] = []
    word: list[str] = []
    in_word = False
    quote = ""
    characters = iter(text)
    for character in characters:
        if quote == '"' and character == "\\":
            word.append(next(characters, ""))
        elif quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)
        elif character in "\"'":
            in_word, quote = True, character
        elif character not in _SPACES:
            in_word = True
            word.append(character)
        elif in_word:
            words.append("".join(word))
            word, in_word = [], False
    if in_word:
        words.append("".join(word))
    return words


def is_executor_startup_conf(key: str, version: SparkVersion) -> bool:
    """Whether an executor needs this setting before it has met the driver (``SparkConf.isExecutorStartupConf``)."""
    return (
        (key.startswith("spark.auth") and key != "spark.authenticate.secret")
        or key.startswith(("spark.rpc", "spark.network", "spark.port."))
        or (key.startswith("spark.ssl") and "Password" not in key and version.at_least(4, 0))
        or (key.startswith("spark.") and key.endswith(".port"))
    )


def startup_options(conf: SparkConf, version: SparkVersion) -> list[str]:
    """``-D<key>=<value>`` for each setting that `is_executor_startup_conf`, sorted by key."""
    return [
        f"-D{key}={conf[key]}" for key in sorted(conf) if is_executor_startup_conf(key, version)
    ]
