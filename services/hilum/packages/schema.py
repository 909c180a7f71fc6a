"""The JSON Schema of ``model.yaml``, published for editors and for other tools."""

import json
import sys
from typing import Any

from hilum.packages.model import ModelManifest


def model_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of the manifest; rules over several fields are checked by ``load`` alone."""
    schema = ModelManifest.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def main() -> None:
    """Print the schema, as ``docs/schemas/model.schema.json`` holds it."""
    sys.stdout.write(json.dumps(model_schema(), indent=2) + "\n")


if __name__ == "__main__":
    main()
