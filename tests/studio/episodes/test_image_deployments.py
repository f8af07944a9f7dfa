from serving.replica_count import replica_count


def test_replicas_follow_the_requests_only_where_there_may_be_more() -> None:
    assert replica_count(2, None, 16) == {"num_replicas": 2}
    assert replica_count(2, 2, 16) == {"num_replicas": 2}
    scaling = replica_count(1, 4, 16)["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"], scaling["target_ongoing_requests"]) == (1, 4, 16)
