"""Golden cases of reward `language`: Urdu, Bengali, Amharic, Chinese and English, their mixtures, and neighbours.

Shares are counted by hand: words of the sentence in the prompt's language over all words (a Han character is a word).
"""

from training.rewards.cases import Case

EN = "The weather is nice today and we are going to the park with our friends."  # 15 words
UR = "آج موسم بہت اچھا ہے اور ہم اپنے دوستوں کے ساتھ باغ میں جا رہے ہیں۔"  # 16 words
BN = "আজ আবহাওয়া খুব সুন্দর এবং আমরা বন্ধুদের সাথে পার্কে যাচ্ছি।"  # 10 words
AM = "ዛሬ የአየር ሁኔታው በጣም ጥሩ ነው እና ከጓደኞቻችን ጋር ወደ መናፈሻ እንሄዳለን።"  # 12 words
ZH = "今天天气很好，我们和朋友一起去公园。"  # 16 characters
AR = "الطقس جميل اليوم وسوف نذهب إلى الحديقة مع أصدقائنا لنلعب كرة القدم."
FA = "هوا امروز خیلی خوب است و ما با دوستانمان برای بازی فوتبال به پارک می‌رویم."
HI = "आज मौसम बहुत अच्छा है और हम अपने दोस्तों के साथ पार्क में खेलने जा रहे हैं।"
JA = "今日は天気がとても良いので、友達と一緒に公園へ遊びに行きます。"
FR = "Il fait beau aujourd'hui et nous allons au parc avec nos amis pour jouer au football."
RU = "Сегодня хорошая погода, и мы идём в парк с друзьями играть в футбол."
ASKED_EN = "What will the weather be like tomorrow, and what should we do with our friends?"
ASKED_UR = "کل موسم کیسا ہوگا اور ہمیں اپنے دوستوں کے ساتھ کیا کرنا چاہیے؟"
ASKED_BN = "আগামীকাল আবহাওয়া কেমন হবে এবং আমাদের কী করা উচিত?"
ASKED_AM = "ነገ የአየር ሁኔታው ምን ይመስላል እና ከጓደኞቻችን ጋር ምን ማድረግ አለብን?"
ASKED_ZH = "明天天气怎么样？我们应该和朋友做什么？"
AMONG = {"among": ["ur", "bn", "am", "zh", "en"]}


def _case(prompt: str, completion: str, expected: float | None, why: str, **parameters: object) -> Case:
    return Case(completion, expected, why, prompt, parameters=parameters)


PURE = [
    _case(ASKED_EN, EN, 1.0, "English to English"),
    _case(ASKED_UR, UR, 1.0, "Urdu to Urdu"),
    _case(ASKED_BN, BN, 1.0, "Bengali to Bengali"),
    _case(ASKED_AM, AM, 1.0, "Amharic to Amharic"),
    _case(ASKED_ZH, ZH, 1.0, "Chinese to Chinese"),
]
MIXED = [
    _case(ASKED_EN, f"{EN} {UR}", 15 / 31, "English with Urdu"),
    _case(ASKED_UR, f"{UR} {EN}", 16 / 31, "Urdu with English"),
    _case(ASKED_BN, f"{BN} {EN}", 10 / 25, "Bengali with English"),
    _case(ASKED_AM, f"{EN} {AM}", 12 / 27, "Amharic with English"),
    _case(ASKED_ZH, f"{ZH} {EN}", 16 / 31, "Chinese with English"),
    _case(ASKED_EN, f"{ZH}{EN}", 15 / 31, "English behind Chinese"),
    _case(ASKED_BN, f"{BN} {UR} {AM}", 10 / 38, "three scripts"),
    _case(ASKED_BN, "আমি Python ও Linux পছন্দ করি।", 4 / 6, "foreign names inside a sentence"),
    _case(ASKED_ZH, "我喜欢Python。", 3 / 4, "a foreign name between characters"),
    _case(ASKED_EN, f"{EN} {FR}", 15 / 31, "one script, two languages: told apart by the sentence"),
    _case(ASKED_UR, f"{UR} {AR}", 16 / 28, "Urdu with Arabic: one script, told apart by the sentence"),
]
OTHER = [
    _case(ASKED_EN, UR, 0.0, "answered in Urdu"),
    _case(ASKED_EN, FR, 0.0, "answered in French, which shares the script"),
    _case(ASKED_UR, AR, 0.0, "Arabic is not Urdu"),
    _case(ASKED_UR, FA, 0.0, "Persian is not Urdu"),
    _case(ASKED_BN, HI, 0.0, "Hindi is not Bengali"),
    _case(ASKED_ZH, JA, 0.0, "Japanese is not Chinese, though it has Han characters"),
    _case(ASKED_AM, EN, 0.0, "answered in English"),
    _case(ASKED_ZH, RU, 0.0, "answered in Russian"),
]
LEFT_OUT = [
    _case(ASKED_BN, f"{BN}\n```python\nfor x in range(3):\n    print(x)\n```", 1.0, "a block of code"),
    _case(ASKED_BN, f"{BN} `print(x)`", 1.0, "code inside a sentence"),
    _case(ASKED_BN, f"{BN} $a^2 + \\text{{side}} = c$", 1.0, "mathematics between dollars"),
    _case(ASKED_BN, f"{BN} \\[ \\frac{{a}}{{b}} = \\sin x \\]", 1.0, "displayed mathematics"),
    _case(ASKED_BN, f"{BN} \\boxed{{x+1}}", 1.0, "a boxed answer"),
    _case(ASKED_BN, f"<think>{BN}</think> <answer>42</answer>", 1.0, "tags and numbers"),
    _case(ASKED_BN, f"{BN} https://example.org/page?x=one", 1.0, "a link"),
    _case(ASKED_BN, f"{BN} ```{EN}", 1.0, "a block of code that is never closed"),
    _case(f"```\nint main(void) {{ return hello_world; }}\n``` {ASKED_BN}", BN, 1.0, "code in the prompt"),
]
MALFORMED = [
    _case(ASKED_EN, "", None, "empty: nothing to judge"),
    _case(ASKED_EN, "42", None, "a number is in no language"),
    _case(ASKED_EN, "... !!! 😀", None, "no words"),
    _case(ASKED_EN, "```\nx = 1\n```", None, "nothing but code"),
    _case("57 + 87 =", EN, None, "a prompt in no language"),
    _case("", EN, None, "an empty prompt"),
    _case(ASKED_EN, "Yes.", 1.0, "too short to tell: the script decides"),
    _case(ASKED_EN, "ᚠᚢᚦᚨᚱᚲ", 0.0, "a script we know no language of is foreign"),
    _case(ASKED_EN, "the\u0000weather", 1.0, "odd characters"),
]
ADVERSARIAL = [
    _case(ASKED_BN, f"{ASKED_BN} " + EN, 9 / 24, "repeating the prompt is counted like any text"),
    _case(ASKED_EN, "Да " * 2000, 0.0, "thousands of foreign words"),
    _case(ASKED_EN, "`" * 5001, None, "thousands of backticks"),
    _case(ASKED_EN, "$" * 5001, None, "thousands of dollars"),
    _case(ASKED_EN, "<" * 5001, None, "thousands of brackets"),
]
CHOSEN = [
    _case("57 + 87 =", UR, 1.0, "a language for every row", language="ur"),
    _case(ASKED_EN, UR, 1.0, "the parameter is stronger than the prompt", language="ur"),
    Case(UR, 1.0, "the row says what its prompt is in", "57 + 87 =", {"prompt_language": "ur"}),
    _case("مدد", "جی ہاں", 1.0, "with few candidates a script decides", **AMONG),
    _case("Hi", EN, 1.0, "with few candidates a short prompt is certain", **AMONG),
]

CASES = PURE + MIXED + OTHER + LEFT_OUT + MALFORMED + ADVERSARIAL + CHOSEN
