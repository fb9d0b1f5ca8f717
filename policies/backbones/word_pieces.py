"""A tokenizer of 1024 symbols, made here from a list of words.

For language models that are trained from scratch: no file, no download, the same everywhere.
Words of the list and the numbers 0 to 255 are one symbol each; any other word falls into its
letters (WordPiece: the longest piece first). The last rows of the vocabulary are reserved, for
heads that write actions into the end of the vocabulary (OpenVLA, pi0-FAST).
"""

from functools import cache
from string import ascii_lowercase, punctuation
from typing import Any

SIZE = 1024
NUMBERS = 256  # as many as there are bins of the state (pi0.5)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "<|im_start|>", "<|im_end|>")
SPECIAL += ("<|vision_start|>", "<|vision_end|>", "<fake_token_around_image>", "<global-img>")
WORDS = """
a an and are at away back backward ball basket bin black block blue book both bottle bottom bowl
box bread brown butter button by cabinet can cheese chocolate clean close cloth cream cube cup
cyan dessert different do door down drawer drop edge execute far find finish first fold for fork
forward four from front furthest glass go grasp green grey grip gripper hand handle hold home in
insert inside instruction into is it keep knife knob ketchup left leftmost let lid lift light
location lower man microwave middle milk mug must near nearest next of off on one onto open
orange other out over pan peg pepper pick pink pitcher place plate please point position pot
pour press pudding pull purple push put rack red reach release remove right rightmost robot rotate
sauce second set shelf should side sink slide soup spoon square stack state stop stove sugar sweep
switch table take task that the then thing third three tip to tomato top touch toward towel tower
tray turn two under up upright wall what where which white wine wipe with yellow you user
assistant action answer question perform now not but all than salad dressing alphabet soda
"""
ASKED = """
balls cans colour cubes describe does exactly five further has how is many more no nor object
objects pads picture same shape side star stars there toward triangle triangles which yes zero
"""  # behind the others, whose numbers checkpoints know


@cache
def make_tokenizer() -> Any:
    """The tokenizer as `transformers.PreTrainedTokenizerFast`; padding is on the right."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = ascii_lowercase + punctuation + "0123456789"
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    pieces += sorted({*WORDS.split(), *map(str, range(NUMBERS))} - set(letters))
    pieces.append("\n")
    pieces += sorted(set(ASKED.split()) - set(pieces))
    pieces += [f"<reserved{k}>" for k in range(SIZE - len(pieces))]
    tokenizer = Tokenizer(
        models.WordPiece({piece: k for k, piece in enumerate(pieces)}, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # Only blanks are dropped: the end of a line means something to a prompt.
            pre_tokenizers.Split(" ", behavior="removed"),
            pre_tokenizers.Split("\n", behavior="isolated"),
            pre_tokenizers.Punctuation(),
        ]
    )
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=list(SPECIAL[4:]),
        padding_side="right",
    )
