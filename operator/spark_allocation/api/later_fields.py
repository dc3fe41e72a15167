"""Fields of a later version in an object of the API server.

CustomResourceDefinitions are upgraded before the operator, and may stay when it is set back; several installations may be of
different versions. So an object may hold a field that the operator does not know. It is told and left out: what is known
goes on holding, a limit of a policy above all. Not so in what selects: without one of its terms a selector is for more drivers,
namespaces or profiles than somebody meant, so such an object cannot be read. (A new field that narrows whom something is for
therefore belongs into one of these.)
"""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

_UNKNOWN = "extra_forbidden"
"""pydantic's word for a field that the model does not have."""
_SELECTING = frozenset({"driver", "match", "selector", "weights"})

_Model = TypeVar("_Model", bound=BaseModel)


def validated(model: type[_Model], spec: Any, *, strict: bool) -> _Model:
    """What `model` knows of a spec.

    Args:
        strict: refuse every unknown field, not only in what selects.

    Raises:
        ValidationError: it makes no sense.
    """
    try:
        return model.model_validate(spec, extra="forbid")
    except ValidationError as error:
        unknown = _unknown(error)
        if strict or not unknown or any(_SELECTING.intersection(path) for path in unknown):
            raise
    return model.model_validate(spec, extra="ignore")


def unknown_fields(model: type[BaseModel], spec: Any) -> tuple[str, ...]:
    """The paths, beginning with ``spec.``, of all that `model` does not know."""
    try:
        model.model_validate(spec, extra="forbid")
    except ValidationError as error:
        return tuple(".".join(("spec", *path)) for path in _unknown(error))
    return ()


def _unknown(error: ValidationError) -> list[tuple[str, ...]]:
    return [
        tuple(map(str, problem["loc"]))
        for problem in error.errors(include_url=False, include_input=False)
        if problem["type"] == _UNKNOWN
    ]
