from vla.evaluation.question_accuracy import measure_answers


def test_accuracy_by_kind_beside_the_commonest_answer():
    scores = measure_answers(
        ["Red.", "blue", "2", "2 ", "3"],
        ["red", "red", "2", "2", "2"],
        ["colour", "colour", "count", "count", "count"],
    )
    assert {kind: (s["right"], s["n"]) for kind, s in scores.items()} == {
        "all": (3, 5),
        "colour": (1, 2),
        "count": (2, 3),
    }
    assert scores["all"]["majority"] == 1.0
    low, high = scores["count"]["interval"]
    assert low < 2 / 3 < high


def test_the_majority_is_of_each_kind():
    scores = measure_answers(["x"] * 4, ["yes", "no", "1", "1"], ["exists", "exists", "n", "n"])
    assert scores["all"]["majority"] == 0.75
