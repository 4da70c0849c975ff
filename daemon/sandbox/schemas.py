"""Input schemas of the hosted models, and the platform's way of refusing an input."""

from __future__ import annotations

from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def _input(required: tuple[str, ...] = (), *, open_input: bool = False, **properties: Any) -> dict[str, Any]:
    named = {
        name: {"x-order": order, "title": name.replace("_", " ").title()}
        | (spec if isinstance(spec, dict) else {"type": spec})
        for order, (name, spec) in enumerate(properties.items())
    }
    schema: dict[str, Any] = {"type": "object", "title": "Input", "properties": named}
    if not open_input:
        schema["additionalProperties"] = False
    return schema | ({"required": list(required)} if required else {})


_URI = {"type": "string", "format": "uri"}
_SECRET = {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}

# The inputs of the published predictor, as of January 2026.
SIMPLETUNER = _input(
    images=_URI | {"description": "Zip or tar archive of training images."},
    config_json={"type": "string", "description": "Training config: a JSON string."},
    dataloader_json={"type": "string", "description": "Multidatabackend config: a JSON string."},
    max_train_steps={"type": "integer", "description": "Override --max_train_steps."},
    lycoris_config={"type": "string", "description": "LyCORIS config: a JSON string."},
    s3_bucket="string",
    s3_region="string",
    s3_endpoint_url="string",
    s3_base_path="string",
    s3_public_base_url="string",
    s3_access_key=_SECRET,
    s3_secret_key=_SECRET,
    hub_model_id={"type": "string", "description": "Hugging Face repository to publish to."},
    hf_token=_SECRET,
    return_logs={"type": "boolean", "default": True},
)
TRAINER = _input(input_images=_URI, steps={"type": "integer", "minimum": 0, "maximum": 1_000_000}, open_input=True)
HELLO = _input(("text",), text={"type": "string", "description": "Whom to greet."})
IMAGE = _input(
    ("prompt",),
    prompt="string",
    num_outputs={"type": "integer", "minimum": 1, "maximum": 4, "default": 2},
    aspect_ratio={"type": "string", "enum": ["1:1", "16:9", "9:16"], "default": "1:1"},
    seed="integer",
)
SHAPES = _input(output={"description": "The output to give back."}, open_input=True)


_STEERING = {"type": "object", "description": "Of the sandbox alone: what the simulated run does."}


def openapi_schema(input_schema: dict[str, Any]) -> dict[str, Any]:
    """What ``openapi_schema`` of a version holds: Cog's description of the container."""
    input_schema = input_schema | {"properties": {**input_schema.get("properties", {}), "sandbox": _STEERING}}
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {
            "/predictions": {
                "post": {
                    "summary": "Predict",
                    "requestBody": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PredictionRequest"}}}
                    },
                }
            }
        },
        "components": {
            "schemas": {
                "Input": input_schema,
                "Output": {"title": "Output"},
                "PredictionRequest": {
                    "type": "object",
                    "title": "PredictionRequest",
                    "properties": {"input": {"$ref": "#/components/schemas/Input"}},
                },
            }
        },
    }


def invalid_fields(given: Any, schema: dict[str, Any]) -> list[dict[str, str]]:
    """What the platform lists in ``invalid_fields``; empty where ``given`` fits. ``sandbox`` is always let through."""
    if not isinstance(given, dict):
        return [_problem("invalid_type", "input", f"Invalid type. Expected: object, given: {_name(given)}")]
    properties = schema["properties"]
    found = [
        _problem("required", "input", f"{name} is required") for name in schema.get("required", ()) if name not in given
    ]
    for name, value in given.items():
        if name in properties:
            found += _unfit(name, value, properties[name])
        elif schema.get("additionalProperties") is False and name != "sandbox":
            text = f"Additional property {name} is not allowed"
            found.append(_problem("additional_property_not_allowed", "input", text))
    return found


def _unfit(name: str, value: Any, spec: dict[str, Any]) -> list[dict[str, str]]:
    field, wanted = f"input.{name}", spec.get("type")
    if wanted is not None and not _fits(value, wanted):
        return [_problem("invalid_type", field, f"Invalid type. Expected: {wanted}, given: {_name(value)}")]
    if "enum" in spec and value not in spec["enum"]:
        allowed = ", ".join(f'"{each}"' for each in spec["enum"])
        return [_problem("enum", field, f"{name} must be one of the following: {allowed}")]
    if "maximum" in spec and value > spec["maximum"]:
        return [_problem("number_lte", field, f"Must be less than or equal to {spec['maximum']}")]
    if "minimum" in spec and value < spec["minimum"]:
        return [_problem("number_gte", field, f"Must be greater than or equal to {spec['minimum']}")]
    return []


def _fits(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, _TYPES[wanted])


def _name(value: Any) -> str:
    if value is None:
        return "null"
    return next(name for name in ("boolean", *_TYPES) if _fits(value, name))


def _problem(kind: str, field: str, description: str) -> dict[str, str]:
    return {"type": kind, "field": field, "description": description}
