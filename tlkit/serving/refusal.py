"""A question that is not answered, and why: one sentence for the page, and the status of HTTP for programs."""


class Refusal(Exception):
    """What was sent cannot be answered.

    Args:
        status: Of the HTTP answer, from 400 on.
        sentence: For whoever sent it.
    """

    def __init__(self, status: int, sentence: str) -> None:
        self.status, self.sentence = status, sentence
        super().__init__(sentence)
