"""Masked settings, rebuilt Java options, quantities and the splitting of commands."""

import re
import shlex
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conformance.generators.pod import generate
from tests.documents.executor_pod_configuration import OURS, PAGE, page

from spark_allocation.core.executor_java_options import (
    is_executor_startup_conf,
    rebuild_java_module_options,
    split_command_string,
)
from spark_allocation.core.executor_memory import executor_container_resources
from spark_allocation.core.executor_pod_settings import POD_SETTINGS
from spark_allocation.core.quantities import check_quantity, quantity_amount
from spark_allocation.core.redacted_settings import REDACTED, required_keys_redacted
from spark_allocation.core.resource_profiles import (
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
)
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

NEW, OLD = SparkVersion.parse("4.1.4"), SparkVersion.parse("3.5.9")
EXECUTOR = "spark.kubernetes.executor."


class TestMaskedSettings:
    @pytest.mark.parametrize(
        "key",
        [
            EXECUTOR + "secrets.db-password",
            EXECUTOR + "secretKeyRef.TOKEN",
            EXECUTOR + "volumes.hostPath.token.mount.path",
            EXECUTOR + "label.secret",
            "spark.executor.extraJavaOptions",
            "spark.executor.defaultJavaOptions",
            "spark.executorEnv.AWS_SECRET_ACCESS_KEY",
            "spark.authenticate.secret.file",
            "spark.kubernetes.container.image",
            "spark.secret.port",
        ],
    )
    def test_masked_settings_that_change_the_pod(self, key: str) -> None:
        assert required_keys_redacted(SparkConf({key: REDACTED}), NEW) == (key,)

    @pytest.mark.parametrize(
        "key",
        [
            "spark.hadoop.fs.s3a.secret.key",
            "spark.kubernetes.driver.secrets.db",
            "spark.authenticate.secret",
            "spark.ssl.keyPassword",
            "spark.driver.extraJavaOptions",
            "spark.sql.token",
        ],
    )
    def test_masked_settings_that_do_not(self, key: str) -> None:
        assert required_keys_redacted(SparkConf({key: REDACTED}), NEW) == ()

    def test_a_setting_without_effect_in_this_version_does_not_count(self) -> None:
        conf = SparkConf(
            {"spark.ssl.keyStore": REDACTED, "spark.executor.extraLibraryPath": REDACTED}
        )

        assert required_keys_redacted(conf, OLD) == ()
        assert len(required_keys_redacted(conf, NEW)) == 2
        assert len(required_keys_redacted(conf)) == 2

    def test_a_value_that_is_not_masked_does_not_count(self) -> None:
        assert required_keys_redacted(SparkConf({EXECUTOR + "secrets.s": "/etc/s"})) == ()

    def test_keys_are_sorted(self) -> None:
        conf = SparkConf({EXECUTOR + "secrets.b": REDACTED, EXECUTOR + "secrets.a": REDACTED})

        assert required_keys_redacted(conf) == (EXECUTOR + "secrets.a", EXECUTOR + "secrets.b")


class TestJavaOptions:
    def test_rebuilt_options_come_in_the_driver_s_order(self) -> None:
        options = rebuild_java_module_options(NEW).split(" ")

        assert options[0] == "-Djava.net.preferIPv6Addresses=false"
        assert options[1] == "-XX:+IgnoreUnrecognizedVMOptions"
        assert "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED" in options
        assert rebuild_java_module_options(NEW, prefer_ipv6=True).startswith(
            "-Djava.net.preferIPv6Addresses=true "
        )

    def test_newer_versions_only_add(self) -> None:
        old, middle, new = (
            set(rebuild_java_module_options(SparkVersion.parse(v)).split(" "))
            for v in ("3.4.4", "4.0.1", "4.1.4")
        )

        assert old < middle < new

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", []),
            ("  a\tb\r\nc ", ["a", "b", "c"]),
            ("-D'a b'=\"c d\"e", ["-Da b=c de"]),
            ("'' \"\"", ["", ""]),
            ('"a\\"b\\\\c"', ['a"b\\c']),
            ("a\\b", ["a\\b"]),
            ("'never closed", ["never closed"]),
            ('"ends in a backslash\\', ["ends in a backslash"]),
        ],
    )
    def test_words_as_spark_splits_them(self, text: str, words: list[str]) -> None:
        assert split_command_string(text) == words

    @given(st.lists(st.text(st.characters(exclude_characters="'\0"), max_size=8), max_size=5))
    @settings(max_examples=100)
    def test_single_quotes_keep_any_word(self, words: list[str]) -> None:
        assert split_command_string(" ".join(f"'{word}'" for word in words)) == words

    @given(st.lists(st.from_regex(r"[A-Za-z0-9=:/._-]{1,8}", fullmatch=True), max_size=5))
    @settings(max_examples=50)
    def test_plain_words_are_split_as_a_shell_does(self, words: list[str]) -> None:
        assert split_command_string(" ".join(words)) == shlex.split(" ".join(words))

    @pytest.mark.parametrize(
        ("key", "new", "old"),
        [
            ("spark.authenticate", True, True),
            ("spark.authenticate.secret", False, False),
            ("spark.rpc.message.maxSize", True, True),
            ("spark.ssl.protocol", True, False),
            ("spark.ssl.keyPassword", False, False),
            ("spark.ui.port", True, True),
            ("spark.port.maxRetries", True, True),
            ("spark.a.ports", False, False),
            ("my.port", False, False),
        ],
    )
    def test_settings_an_executor_needs_before_it_meets_the_driver(
        self, key: str, new: bool, old: bool
    ) -> None:
        assert is_executor_startup_conf(key, NEW) is new
        assert is_executor_startup_conf(key, OLD) is old


class TestQuantities:
    @pytest.mark.parametrize(
        ("text", "amount"),
        [
            ("1", "1"),
            ("500m", "0.5"),
            ("1Ki", "1024"),
            ("1e3", "1000"),
            ("1E-2", "0.01"),
            (".5k", "500"),
        ],
    )
    def test_amounts(self, text: str, amount: str) -> None:
        assert str(quantity_amount(text).normalize()) == str(
            type(quantity_amount(text))(amount).normalize()
        )

    @pytest.mark.parametrize("text", ["", "1e3k", "1i2i"])
    def test_what_the_client_library_refuses(self, text: str) -> None:
        with pytest.raises(ValueError, match="must"):
            check_quantity(text)

    @pytest.mark.parametrize("text", ["abc", "1Zi", "--1", "1 ", "E", "1e", "1Ki2"])
    def test_what_passes_as_text_but_has_no_amount(self, text: str) -> None:
        assert check_quantity(text) == text
        with pytest.raises(ValueError, match="must"):
            quantity_amount(text)


class TestMemory:
    sizes = st.integers(1, 1 << 20)

    @given(memory=sizes, least=sizes, factor=st.floats(0.01, 2))
    @settings(max_examples=50)
    def test_a_total_is_memory_and_the_greater_of_share_and_least(
        self, memory: int, least: int, factor: float
    ) -> None:
        conf = SparkConf(
            {
                "spark.executor.memory": f"{memory}m",
                "spark.executor.minMemoryOverhead": f"{least}m",
                "spark.executor.memoryOverheadFactor": repr(factor),
            }
        )
        found = executor_container_resources(conf, ResourceProfile(ProfileId(0)), NEW)

        assert found.total_memory_mib == memory + max(int(memory * factor), least)

    @given(st.dictionaries(st.sampled_from(["memory", "memoryOverhead", "pyspark.memory"]), sizes))
    @settings(max_examples=50)
    def test_a_profile_overrides_number_by_number(self, amounts: dict[str, int]) -> None:
        python = SparkConf({"spark.kubernetes.resource.type": "python"})
        requests = {name: ExecutorResourceRequest(name, amount) for name, amount in amounts.items()}
        found = executor_container_resources(python, ResourceProfile(ProfileId(1), requests), NEW)

        expected = {"memory": 1024, "memoryOverhead": 384, "pyspark.memory": 0} | amounts
        assert found.total_memory_mib == sum(expected.values())


class TestTheListOfSettings:
    def test_each_setting_is_named_once(self) -> None:
        keys = [setting.key for setting in POD_SETTINGS]

        assert len(keys) == len(set(keys))

    def test_versions_are_versions(self) -> None:
        assert all(re.fullmatch(r"(\d\.\d)?", setting.since) for setting in POD_SETTINGS)

    def test_each_setting_takes_part_in_the_comparison_with_spark(self) -> None:
        compared: set[str] = set()
        for number in range(1500):
            compared.update(generate(Random(number), "4.1.4")["conf"])

        missing = [
            setting.key
            for setting in POD_SETTINGS
            if setting.key not in OURS and not any(key.startswith(setting.key) for key in compared)
        ]
        assert missing == []

    def test_the_reference_page_is_up_to_date(self) -> None:
        """``python -m tests.documents.executor_pod_configuration`` writes it."""
        assert PAGE.read_text(encoding="utf-8") == page()
