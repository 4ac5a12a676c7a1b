"""Makes firehose-2015-08-04.json from the service model that botocore carries.

    python3 renew.py          writes the file beside this one
    python3 renew.py --check  says whether it is what the installed botocore has
"""

import json
import pathlib
import sys

import botocore.session

FILE = pathlib.Path(__file__).with_name("firehose-2015-08-04.json")


def bare(part):
    """Without documentation, which nothing here reads."""
    if isinstance(part, dict):
        # A member may itself be named `documentation`; then it is an object.
        return {name: bare(value) for name, value in part.items() if not (name == "documentation" and isinstance(value, str))}
    return [bare(value) for value in part] if isinstance(part, list) else part


def text():
    loader = botocore.session.get_session().get_component("data_loader")
    model = bare(loader.load_service_model("firehose", "service-2", "2015-08-04"))
    lines = []
    for part in ("metadata", "operations", "shapes"):
        rows = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in model[part].items()]
        lines.append(f"{json.dumps(part)}: {{\n" + ",\n".join(rows) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if sys.argv[1:] == ["--check"]:
    same = json.loads(FILE.read_text()) == json.loads(text())
    print("the same" if same else f"{FILE.name} differs from botocore {botocore.__version__}")
    sys.exit(not same)
FILE.write_text(text())
