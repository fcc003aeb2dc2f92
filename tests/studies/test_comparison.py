from __future__ import annotations

import csv
import io
import statistics

import pytest

from musicrec.evaluation.thesis import F1_MICRO, TABLE_3, TABLE_5, Metric
from musicrec.studies.comparison import (
    CSV_COLUMNS,
    ComparisonRow,
    SeedResult,
    TestedOn,
    comparison_rows,
    to_csv,
    to_markdown,
)

F1_MACRO = Metric("f1_macro", "macro-F1", higher_is_better=True)
TESTED_ON = TestedOn("FMA medium", train=19_922, validation=2_505, test=2_573, errors=24)
MEL_TIME = [
    SeedResult(
        {"f1_micro": 0.60, "f1_macro": 0.40},
        {"f1_micro": (0.58, 0.62)},
        parameters=55_700,
        seconds=100.0,
    ),
    SeedResult(
        {"f1_micro": 0.63, "f1_macro": 0.41},
        {"f1_micro": (0.61, 0.66)},
        parameters=55_700,
        seconds=140.0,
    ),
    SeedResult({"f1_micro": 0.66, "f1_macro": 0.45}, {"f1_micro": (0.64, 0.67)}, parameters=55_700),
]
MAJORITY = [SeedResult({"f1_micro": 0.276, "f1_macro": 0.03}, {"f1_micro": (0.25, 0.30)})]


@pytest.fixture
def rows() -> list[ComparisonRow]:
    return comparison_rows(
        TABLE_3, {"mel.wide": MAJORITY, "mel.time": MEL_TIME}, {"majority": MAJORITY}
    )


def line_of(markdown: str, name: str) -> list[str]:
    (line,) = [line for line in markdown.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_rows_are_in_the_order_of_the_thesis_and_baselines_last(
    rows: list[ComparisonRow],
) -> None:
    assert [row.name for row in rows] == [row.model for row in TABLE_3.rows] + [
        "mel.wide",
        "majority",
    ]


def test_markdown_by_hand(rows: list[ComparisonRow]) -> None:
    text = to_markdown(TABLE_3, rows, TESTED_ON, [F1_MACRO])
    assert text.startswith("# Table 3: one genre, FMA medium\n")
    assert (
        "FMA medium: 19,922 training, 2,505 validation and 2,573 test tracks; "
        "24 in errors and left out." in text
    )
    deviation = statistics.stdev([0.40, 0.41, 0.45])
    trained = [
        "mel.time",
        "0.6200",
        "0.6300 ± 0.0300",
        "0.6100 to 0.6500",
        "+0.0100",
        f"0.4200 ± {deviation:.4f}",
    ]
    assert line_of(text, "mel.time") == [*trained, "55,700", "55,700", "3", "120.0"]
    assert line_of(text, "mel.freq") == ["mel.freq", "0.5850", *["-"] * 4, "61,574", "-", "0", "-"]
    assert line_of(text, "majority") == [
        "majority",
        "-",
        "0.2760",
        "0.2500 to 0.3000",
        "-",
        "0.0300",
        "-",
        "-",
        "1",
        "-",
    ]
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 2 + len(rows)


def test_classes_without_a_test_track_are_reported() -> None:
    assert "classes" not in TESTED_ON.line()
    line = TestedOn(
        "FMA large", train=1, validation=1, test=1, errors=0, classes=161, absent_classes=3
    ).line()
    assert "3 of 161 classes have no test track: mAP and ROC-AUC leave them out" in line


def test_metrics_of_which_less_is_better_say_so_and_keep_their_decimals() -> None:
    ours = {
        "mel.time": [SeedResult({"hamming": 0.018, "mse": 0.0155}, {"hamming": (0.0175, 0.0185)})]
    }
    text = to_markdown(TABLE_5, comparison_rows(TABLE_5, ours, {}), TESTED_ON)
    assert "thesis: Hamming loss (lower is better)" in text
    assert line_of(text, "mel.time")[1:5] == [
        "0.018464",
        "0.018000",
        "0.017500 to 0.018500",
        "-0.000464",
    ]
    assert line_of(text, "mel.time")[5:9] == ["0.015377", "0.015500", "-", "+0.000123"]


def test_csv_holds_what_the_table_shows_in_full(rows: list[ComparisonRow]) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(TABLE_3, rows, TESTED_ON, [F1_MACRO]))))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert len(lines) == 2 * len(rows)
    result = {(line["model"], line["metric"]): line for line in lines}
    trained = result["mel.time", "f1_micro"]
    assert float(trained["thesis"]) == 0.619992
    assert float(trained["ours"]) == pytest.approx(0.63, abs=1e-12)
    assert float(trained["deviation"]) == pytest.approx(0.03, abs=1e-12)
    assert float(trained["difference"]) == pytest.approx(0.63 - 0.619992, abs=1e-12)
    assert (float(trained["interval_low"]), float(trained["interval_high"])) == pytest.approx(
        (0.61, 0.65)
    )
    assert (trained["seeds"], trained["seconds"], trained["test"], trained["errors"]) == (
        "3",
        "120.0",
        "2573",
        "24",
    )
    assert (
        result["majority", "f1_micro"]["thesis"],
        result["majority", "f1_micro"]["difference"],
    ) == ("", "")
    assert (result["mel.freq", "f1_micro"]["ours"], result["mel.freq", "f1_micro"]["seeds"]) == (
        "",
        "0",
    )


def test_seeds_without_a_metric_are_not_counted_for_it() -> None:
    row = ComparisonRow("mel.time", {"f1_micro": 0.62}, seeds=[SeedResult({}), *MEL_TIME[:2]])
    assert row.mean(F1_MICRO.name) == pytest.approx(0.615)
    assert row.deviation("f1_macro") == pytest.approx(statistics.stdev([0.40, 0.41]))
    assert ComparisonRow("mel.time", seeds=MEL_TIME[:1]).deviation("f1_micro") is None
    assert ComparisonRow("nothing").mean("f1_micro") is None
