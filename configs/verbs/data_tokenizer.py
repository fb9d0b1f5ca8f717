"""`vla data tokenizer`: words for the chunks of one store."""

from pathlib import Path

from rich.console import Console

from configs.data_jobs import DataTokenizerJob
from policies.config import VlaPolicyConfig
from vla.data.store import TrajectoryStore


def main(job: DataTokenizerJob) -> None:
    """Fit on the training episodes; print what words cost and lose on the held-out ones."""
    from policies.heads.tokenizers.fast import FastTokenizer
    from policies.heads.tokenizers.fitting import read_chunks

    store = TrajectoryStore.open(job.path)
    policy = VlaPolicyConfig(
        horizon=job.horizon,
        normalization=job.normalization,
        bounded_axes=job.bounded_axes,
        relative_actions=job.relative_actions,
    )
    seen, held_out = (store.split(split, job.held_out) for split in ("train", "held_out"))
    chunks = read_chunks(store, seen, policy, count=job.chunks)
    tokenizer = FastTokenizer.fit(chunks, scale=job.scale, vocabulary=job.vocabulary)
    tokenizer.save(Path(job.output))
    console, source = Console(), "training"
    if len(held_out):
        chunks = read_chunks(store, held_out, policy, count=job.chunks, statistics_of=seen)
        source = "held-out"
    sequences = tokenizer.encode(chunks)
    rows, axes = chunks.shape[1:]
    back = tokenizer.decode(sequences, horizon=rows, axes=axes).actions
    words = sum(map(len, sequences)) / len(sequences)
    console.print(
        f"{len(chunks)} {source} chunks of {rows} rows x {axes} axes: {words:.1f} words each "
        f"instead of {rows * axes} (1 : {rows * axes / words:.1f}); error "
        f"{(back - chunks).abs().mean():.4f} on average, {(back - chunks).abs().max():.4f} at "
        f"most, in normalised units.\nTokenizer: {job.output}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
