"""Golden cases of reward `format`."""

from training.rewards.cases import Case

THINK_ANSWER = {"tags": ["think", "answer"]}

CASES = [
    Case("<answer>7</answer>", 1.0, "the tag alone"),
    Case("3 + 4 = 7\n<answer>7</answer>\n", 1.0, "text before, white space behind"),
    Case("<answer>wrong</answer>", 1.0, "whether the answer is right is not asked"),
    Case("<think>3 + 4</think>\n<answer>7</answer>", 1.0, "two tags in order", parameters=THINK_ANSWER),
    Case("", 0.0, "empty"),
    Case("None", 0.0, "None as a text"),
    Case("7", 0.0, "no tag"),
    Case("<answer>7", 0.0, "unclosed"),
    Case("7</answer>", 0.0, "never opened"),
    Case("<answer>7</answer>.", 0.0, "text behind the tag"),
    Case("<answer></answer>", 0.0, "nothing inside"),
    Case("<answer> \n </answer>", 0.0, "only white space inside"),
    Case("<answer>7</answer><answer>7</answer>", 0.0, "twice"),
    Case("<answer><answer>7</answer></answer>", 0.0, "nested"),
    Case("</answer>7<answer>", 0.0, "the wrong way round"),
    Case("<Answer>7</Answer>", 0.0, "tags are case-sensitive"),
    Case("< answer >7</ answer >", 0.0, "spaces inside the tag"),
    Case("<answer>7</answer><think>3 + 4</think>", 0.0, "the wrong order", parameters=THINK_ANSWER),
    Case("<think><answer>7</answer></think>", 0.0, "one inside the other", parameters=THINK_ANSWER),
    Case("<answer>7</answer>", 0.0, "one of two is missing", parameters=THINK_ANSWER),
    Case("<answer>" * 3000, 0.0, "thousands of tags"),
]
