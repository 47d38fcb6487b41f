"""Writes a language model in the shape of stories260K, with weights at random: a benchmark times the shape."""

import sys

import gguf
import numpy as np

LAYERS, WIDTH, HEADS, GROUPS, INNER, WORDS = 5, 64, 8, 4, 172, 512
HEAD = WIDTH // HEADS


def main(path: str) -> None:
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_license("Apache-2.0")
    writer.add_block_count(LAYERS)
    writer.add_context_length(1024)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD)
    writer.add_vocab_size(WORDS)
    writer.add_tokenizer_model("none")

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.05, shape).astype(np.float32))

    def scale(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))

    add("token_embd", WORDS, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        scale(f"{block}.attn_norm")
        add(f"{block}.attn_q", WIDTH, WIDTH)
        add(f"{block}.attn_k", GROUPS * HEAD, WIDTH)
        add(f"{block}.attn_v", GROUPS * HEAD, WIDTH)
        add(f"{block}.attn_output", WIDTH, WIDTH)
        scale(f"{block}.ffn_norm")
        add(f"{block}.ffn_gate", INNER, WIDTH)
        add(f"{block}.ffn_up", INNER, WIDTH)
        add(f"{block}.ffn_down", WIDTH, INNER)
    scale("output_norm")
    add("output", WORDS, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(sys.argv[1])
