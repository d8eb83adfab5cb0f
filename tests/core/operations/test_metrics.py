"""Metrics: what was counted, as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families

from gently.core.operations.metrics import Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sample.labels.items()): (
            sample.value
        )
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_what_happens_is_counted() -> None:
    metrics = Metrics()
    metrics.items.labels("completed").inc()
    metrics.volumes.labels("complete").inc()
    metrics.frame_written(8_000_000)
    metrics.frame_written(8_000_000)
    metrics.back_pressure.inc(0.25)
    metrics.stop_seconds.observe(0.02)
    metrics.followers_dropped.inc()
    metrics.requests_refused.labels("403").inc()

    found = samples(metrics)

    assert found["gently_items_total outcome=completed"] == 1
    assert found["gently_volumes_total status=complete"] == 1
    assert found["gently_frames_written_total"] == metrics.frames_written == 2
    assert found["gently_bytes_written_total"] == metrics.bytes_written == 16_000_000
    assert found["gently_back_pressure_seconds_total"] == 0.25
    assert found["gently_stop_seconds_bucket le=0.025"] == 1
    assert found["gently_stop_seconds_bucket le=0.01"] == 0
    assert found["gently_followers_dropped_total"] == 1
    assert found["gently_requests_refused_total status=403"] == 1


def test_gauges_are_looked_at_when_they_are_read() -> None:
    length = [3]
    metrics = Metrics()
    metrics.gauge("queue_length", "Items that wait", lambda: length[0])
    assert samples(metrics)["gently_queue_length"] == 3
    length[0] = 4
    assert samples(metrics)["gently_queue_length"] == 4


def test_two_device_layers_of_one_process_do_not_share_a_registry() -> None:
    one, two = Metrics(), Metrics()
    one.frame_written(1)
    assert (one.frames_written, two.frames_written) == (1, 0)
