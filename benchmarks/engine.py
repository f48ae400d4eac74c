"""The ways a stack's steps can be run, in alternation in one process, and what evaluation takes of an epoch.

    python -m benchmarks.engine --model lenet5x5 --runs 1,6
    python -m benchmarks.engine --model conv5 --runs 1 --threads 2 --activation relu
    python -m benchmarks.engine --runs 1,12 --device cuda

One shard as a worker runs it, without the worker: no store, no other process.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.throughput import BATCH, RULES, in_memory_loop
from cnnviz import data
from cnnviz.analysis import costs
from cnnviz.architectures import architecture
from cnnviz.config import RunConfig
from cnnviz.train import lenet, memory
from cnnviz.train.loop import STEPS_AT_ONCE, Trainer, fresh_start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lenet5x5")
    parser.add_argument("--runs", default="1,6", help="networks in the stack")
    parser.add_argument("--activation", default="tanh")
    parser.add_argument("--optimizer", choices=list(RULES), default="sgd")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seconds", type=float, default=3, help="for each way, each time")
    parser.add_argument("--profile", action="store_true", help="and show where each way's time goes")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    device, on_cpu = options.device, options.device == "cpu"
    torch.set_num_threads(options.threads)
    dataset, arch = data.load("cifar10").to(device), architecture(options.model)
    flops, peak = costs.step_flops(arch) * BATCH, costs.peak_flops(options.threads, device)
    machine = f"{options.threads} threads" if on_cpu else torch.cuda.get_device_name()
    print(f"{options.model}, {options.optimizer}, {machine}, wide convolution {peak / 1e9:.0f} GFLOP/s")
    print("| networks | way | network-steps/s | GFLOP/s | share of wide convolution | evaluation, share of an epoch |")
    print("|---|---|---|---|---|---|")
    plain = [in_memory_loop(options.model, device, options.seconds, 0, options.optimizer)]
    memory.set_malloc(*memory.malloc_for(RunConfig(model=options.model)))
    for size in map(int, options.runs.split(",")):
        configs = [
            RunConfig(
                model=options.model,
                activation=options.activation,
                lr=0.01 / (1 + k),
                optimizer="adam" if options.optimizer == "adam" else "sgd",
                momentum=0.9 if options.optimizer == "momentum" else 0.0,
            )
            for k in range(size)
        ]
        ways = ["eager", "graph", "compiled graph", "reduce-overhead"]
        if on_cpu:
            ways = ["eager", "compiled", *(["kernel"] if lenet.fits(configs) else [])]
        trainers = {
            way: Trainer(configs, [fresh_start(each) for each in configs], dataset, device, way) for way in ways
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        order = data.batch_order(0, 1, len(dataset.train_labels)).to(device).split(STEPS_AT_ONCE * BATCH)
        for trainer in trainers.values():  # compile
            trainer.train_on(order[0])
        for _ in range(options.rounds):
            plain.append(in_memory_loop(options.model, device, options.seconds, 0, options.optimizer))
            for way, trainer in trainers.items():
                began, steps = time.perf_counter(), 0
                while time.perf_counter() - began < options.seconds:
                    trainer.train_on(order[steps // STEPS_AT_ONCE % len(order)])
                    steps += STEPS_AT_ONCE
                if not on_cpu:
                    torch.cuda.synchronize()
                rates[way].append(size * steps / (time.perf_counter() - began))
        for way, trainer in trainers.items():
            began = time.perf_counter()
            trainer.evaluate(dataset.test_images, dataset.test_labels)
            evaluation, rate = time.perf_counter() - began, statistics.median(rates[way])
            epoch = evaluation + size * configs[0].steps_per_epoch / rate
            print(
                f"| {size} | {way} | {rate:,.0f} | {rate * flops / 1e9:.0f} | {rate * flops / peak:.0%} "
                f"| {evaluation:.2f} of {epoch:.1f} s, {evaluation / epoch:.1%} |"
            )
        if options.profile:
            for way, trainer in trainers.items():
                print(
                    f"\n{way}, {size} networks, {STEPS_AT_ONCE} steps:\n{profile(partial(trainer.train_on, order[0]))}"
                )
    later = statistics.median(plain[1:])
    print(f"plain PyTorch on tensors in memory: {plain[0]:.0f} steps/s, {later:.0f} with our malloc")


def profile(steps: Callable[[], None]) -> str:
    """Where the time goes, by operation and the shapes it had."""
    with torch.profiler.profile(record_shapes=True) as seen:
        steps()
    by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    return seen.key_averages(group_by_input_shape=True).table(by, 20, 40)


if __name__ == "__main__":
    main()
