"""The published JSON Schema: what editors check while one types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from poolkeeper.tasks.fleet import check_fleet, fleet_schema
from poolkeeper.tasks.fleet.source import read_source
from poolkeeper.tasks.fleet.text import Positions
from tests.unit.fleet.builders import GOOD, a_file, changed

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "tasks" / "fleet" / "fleet.schema.json"
EXAMPLE = ROOT / "deployments" / "examples" / "fleet.yaml"


def refusals(text: str, folder: Path) -> list[str]:
    data: Any = Positions(read_source(a_file(folder, text))).data
    validator = jsonschema.Draft202012Validator(fleet_schema())
    return sorted(".".join(map(str, error.absolute_path)) for error in validator.iter_errors(data))


def test_the_committed_schema_is_what_the_code_says():
    assert json.loads(COMMITTED.read_text()) == fleet_schema(), "write it anew: poolkeeper schema > " + str(COMMITTED)


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(fleet_schema())


def test_the_example_is_good_by_schema_and_by_rules(tmp_path):
    assert refusals(EXAMPLE.read_text(), tmp_path) == []
    assert check_fleet(EXAMPLE)[1] == ()


def test_defaults_in_the_schema_can_be_written_in_a_file():
    """An editor offers them."""
    schema = fleet_schema()
    join, pool = (schema["$defs"][name]["properties"] for name in ("Join", "Pool"))
    assert (join["timeout"]["default"], pool["min_memory"]["default"]) == ("15m", "2Gi")
    for one in (schema, *schema["$defs"].values()):
        for written in one.get("properties", {}).values():
            if "default" in written:
                jsonschema.validate(written["default"], {**written, "$defs": schema["$defs"]})


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("mode: act", "mode: obsrve", "mode"),
        ("mode: act", "mood: act", ""),
        ("max_unavailable: 10%", "max_unavailable: 0", "pools.general.max_unavailable"),
        ("max_unavailable: 10%", "max_unavailable: 101%", "pools.general.max_unavailable"),
        ("duration: 4h", "duration: 4 hours", "sites.fra1.windows.0.duration"),
        ('start: "02:00"', 'start: "24:00"', "sites.fra1.windows.0.start"),
        ("node_mask: 24", 'node_mask: "24"', "clusters.main.node_mask"),
        ("from: 2026", "start: 2026", "sites.fra1.freezes.0"),
        ("nodepool_id: np-1", "nodepool_id: 7", "pools.general.nodepool_id"),
    ],
)
def test_the_schema_and_the_loader_refuse_the_same(tmp_path, old, new, path):
    text = changed((old, new))
    assert path in refusals(text, tmp_path)
    assert check_fleet(a_file(tmp_path, text))[0] is None


def test_the_good_file_reads_the_same_to_any_yaml_reader(tmp_path):
    ours = Positions(read_source(a_file(tmp_path))).data
    theirs = yaml.load(GOOD, Loader=yaml.BaseLoader)  # values as text
    assert json.loads(json.dumps(ours), parse_int=str) == theirs
