"""Condition types and their reasons: closed lists that documentation, status and tests share."""

from enum import StrEnum


class ConditionType(StrEnum):
    """What a SparkAllocation can be said to be."""

    READY = "Ready"
    """The driver is found, reachable and passive, and executors are kept at the target."""
    DRIVER_REACHABLE = "DriverReachable"
    """The driver's REST API answers."""
    DRIVER_PASSIVE = "DriverPassive"
    """The driver leaves allocation to the operator."""
    ALLOCATING = "Allocating"
    """Executors are being created, or wait to become ready."""
    STALLED = "Stalled"
    """Executors are wanted and cannot be had, for the reason given."""
    AMBIGUOUS_DRIVER = "AmbiguousDriver"
    """Several live pods match the selector; one that is served already goes on being served."""
    CONFLICTED = "Conflicted"
    """Another SparkAllocation serves the same driver; this one touches nothing."""
    DECOMMISSIONING = "Decommissioning"
    """Whether executors can be drained without losing running tasks."""
    IGNORED = "Ignored"
    """Something in the spec makes no difference; the message says what, and why."""
    LIMITED = "Limited"
    """A lock or a limit of a policy changed a value; the message names each."""
    POLICY_CONFLICT = "PolicyConflict"
    """Policies contradict each other, or one of them cannot be used; the message says what holds."""
    PROFILES_MATCHED = "ProfilesMatched"
    """Each entry of spec.profiles is for a resource profile that the driver has named."""
    FINISHED = "Finished"
    """The application has ended and what it left is swept."""


class Reason(StrEnum):
    """Why a condition has its status. One word for programs; the sentence for people is the message."""

    # the way to the driver
    DRIVER_NOT_NAMED = "DriverNotNamed"
    DRIVER_NOT_FOUND = "DriverNotFound"
    AMBIGUOUS_DRIVER = "AmbiguousDriver"
    DRIVER_STARTING = "DriverStarting"
    DRIVER_SUCCEEDED = "DriverSucceeded"
    DRIVER_FAILED = "DriverFailed"
    DRIVER_GONE = "DriverGone"
    DRIVER_TERMINATING = "DriverTerminating"
    APPLICATION_COMPLETED = "ApplicationCompleted"
    CONNECTION_REFUSED = "ConnectionRefused"
    CONNECTION_TIMED_OUT = "ConnectionTimedOut"
    CONNECTION_RESET = "ConnectionReset"
    REDIRECTED = "Redirected"
    UNAUTHORIZED = "Unauthorized"
    NO_ACCESS = "NoAccess"
    NOT_TRUSTED = "NotTrusted"
    ADDRESS_NOT_ALLOWED = "AddressNotAllowed"
    NOT_A_SPARK_UI = "NotASparkUi"
    BAD_ANSWER = "BadAnswer"
    ANSWERS = "Answers"
    # what the driver is set to
    PASSIVE = "Passive"
    ALLOCATES_ITSELF = "AllocatesItself"
    UNREADABLE_CONFIGURATION = "UnreadableConfiguration"
    UNKNOWN = "Unknown"
    # the object itself
    INVALID_SPEC = "InvalidSpec"
    INTERNAL_ERROR = "InternalError"
    NO_EFFECT = "NoEffect"
    OLDER_ALLOCATION_WINS = "OlderAllocationWins"
    ONLY_ALLOCATION = "OnlyAllocation"
    PAUSED = "Paused"
    RECOMMENDING = "Recommending"
    # creating executors
    AS_WANTED = "AsWanted"
    SCALING_UP = "ScalingUp"
    POD_INVALID = "PodInvalid"
    POD_NOT_BUILT = "PodNotBuilt"
    FIELD_NOT_ALLOWED = "FieldNotAllowed"
    ALLOCATION_MAXIMUM = "AllocationMaximum"
    QUOTA_EXCEEDED = "QuotaExceeded"
    CREATE_FORBIDDEN = "CreateForbidden"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    API_UNAVAILABLE = "ApiUnavailable"
    POD_NAME_TAKEN = "PodNameTaken"
    WAITING_FOR_CLAIMS = "WaitingForClaims"
    UNSCHEDULABLE = "Unschedulable"
    EXECUTORS_FAIL_TO_START = "ExecutorsFailToStart"
    EXECUTORS_FAIL = "ExecutorsFail"
    FAILURE_LIMIT = "FailureLimit"
    # draining
    DRAINS = "Drains"
    DECOMMISSION_OFF = "DecommissionOff"
    MIGRATION_OFF = "MigrationOff"
    DELETE_FORBIDDEN = "DeleteForbidden"
    # policies
    LIMITS_APPLIED = "LimitsApplied"
    WITHIN_LIMITS = "WithinLimits"
    POLICIES_CONTRADICT = "PoliciesContradict"
    POLICY_IGNORED = "PolicyIgnored"
    # resource profiles
    MATCHED = "Matched"
    NO_PROFILE_MATCHES = "NoProfileMatches"
    SEVERAL_ENTRIES_MATCH = "SeveralEntriesMatch"
    # the end
    RUNNING = "Running"


CONDITION_ORDER = tuple(ConditionType)
