"""TensorBoard's table of a benchmark."""

from fex.benchmark.report.hparams import write_hparams


def report(*methods):
    row = {"protocol": "fex", "metric": "positive_auc", "value": 0.25, "queries": 100, "seconds": None, "peak_mb": None}
    return {
        "rows": [{"method": method, **row} for method in methods],
        "black_box": "box", "data": "data", "seed": 0,
        "methods": {"RISE (100)": {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 100, "removal": {}}}},
    }  # fmt: skip


def test_an_earlier_report_is_replaced_and_nothing_else(tmp_path):
    (tmp_path / "version_0").mkdir()
    for own in (tmp_path / "version_0" / "events.out.tfevents.1", tmp_path / "events.out.tfevents.2"):
        own.write_bytes(b"a user's")
    write_hparams(tmp_path, report("RISE (100)", "Random"))
    write_hparams(tmp_path, report("RISE (100)"))
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "000-RISE_100.method", "events.out.tfevents.2", "version_0",
    ]  # fmt: skip
    assert (tmp_path / "version_0" / "events.out.tfevents.1").read_bytes() == b"a user's"
