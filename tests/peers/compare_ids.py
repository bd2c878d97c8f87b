"""compare_ids.py FOLDER LINES IDS: compares ids with those of tokenizers (tokenizer.json; or vocab.json and merges.txt, put
together as transformers' CLIPTokenizer does) or of sentencepiece (spiece.model). LINES are texts with a NUL behind each,
IDS a line of ids for each. Prints how many differ, and the first few."""

import json
import os
import sys


def clip(folder):
    """transformers models/clip/tokenization_clip.py."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    vocab = json.load(open(os.path.join(folder, "vocab.json"), encoding="utf-8"))
    lines = open(os.path.join(folder, "merges.txt"), encoding="utf-8").read().split("\n")
    merges = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    begin, end = "<|startoftext|>", "<|endoftext|>"
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token=end, continuing_subword_prefix="",
                             end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                                         normalizers.Lowercase()])
    words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "removed", invert=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.add_special_tokens([begin, end])
    t.post_processor = processors.TemplateProcessing(single=f"{begin} $A {end}", special_tokens=[(begin, vocab[begin]),
                                                                                               (end, vocab[end])])
    return lambda text: t.encode(text).ids


def peer(folder):
    path = os.path.join(folder, "tokenizer.json")
    if os.path.exists(path):
        from tokenizers import Tokenizer

        t = Tokenizer.from_file(path)
        t.no_truncation()
        t.no_padding()
        return lambda text: t.encode(text).ids
    if os.path.exists(os.path.join(folder, "merges.txt")):
        return clip(folder)
    import sentencepiece

    p = sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, "spiece.model"))
    return lambda text: p.encode(text) + [p.eos_id()]


def main(folder, lines, ids):
    encode = peer(folder)
    texts = [text.decode() for text in open(lines, "rb").read().split(b"\0")[:-1]]
    ours = [list(map(int, line.split())) for line in open(ids, encoding="ascii")]
    assert texts and len(texts) == len(ours), "a line of ids for each text is expected"
    differ = [i for i, text in enumerate(texts) if encode(text) != ours[i]]
    print(f"{folder}: {len(texts)} lines, {sum(map(len, ours))} ids, {len(differ)} lines differ")
    for i in differ[:5]:
        print(f"  line {i}: {ascii(texts[i])[:200]}\n    ours   {ours[i][:20]}\n    theirs {encode(texts[i])[:20]}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
