"""`mialab experiments`, `run`, `show` and `record`: what there is, compute it, look at it, keep it."""

from mialab.cli import options, output

LIST = """\
The cost is an estimate for one cell after another, none of them done yet: right to a factor of about two on a machine
that is not busy otherwise.

example:
  mialab experiments
"""
RUN = """\
A run may be interrupted at any instant and started again: what is finished is kept, and a long training goes on from
its checkpoint. Two runs may share a store. Parts may run on machines that share a folder, or one after another.

examples:
  mialab run ensemble/figure1                                   smoke: embedded data, minutes on two cores
  mialab run basics/overfitting --where data=digits             some of its lines
  mialab run ensemble/figure1 --preset course --only 3/8        the third of eight parts, on this machine
  mialab run ensemble/figure1 --preset paper --jobs 2           two processes, which share out GPUs and threads
  mialab run ensemble/figure1 --scheduler tcp://head:8786       on the workers of a Dask cluster
"""
SHOW = """\
One line per setting: mean [95 % interval over seeds]. What the paper prints stands beside the lines that it belongs
to. Nothing is computed.

examples:
  mialab show ensemble/figure1
  mialab show ensemble/figure1 --preset smoke --attack loss --json figure1.json
"""
RECORD = """\
Writes book/results/NAME.PRESET.DEVICE.json: rows, curves, configurations, seeds, device, versions. With --where it
writes the lines that are asked for, and with --seeds the repetitions; they join those that are there.
What the code has left behind moves to book/results/superseded; records of other devices stay. Outside a checkout set
MIALAB_RESULTS to a folder of yours.

examples:
  mialab run basics/overfitting && mialab record basics/overfitting
  mialab record basics/overfitting --where data=digits
  mialab run basics/overfitting --seeds 3-4 && mialab record basics/overfitting --seeds 3-4
"""


def add(commands) -> None:
    """Add the commands to the command line."""
    _add_experiments(commands)
    _add_run(commands)
    _add_show(commands)
    _add_record(commands)


def _add_experiments(commands):
    parser = options.command(commands, "experiments", "what there is to run: data, cost here, records", LIST)
    parser.set_defaults(run=_experiments)


def _add_run(commands):
    parser = options.command(commands, "run", "compute what is missing of an experiment, and show it", RUN)
    options.experiment(parser)
    options.preset(parser, default="smoke")
    options.seeds(parser)
    options.where(parser)
    parser.add_argument("--only", metavar="I/N", type=options.part, help="of the trainings, every Nth from the Ith on")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--jobs", metavar="N", type=options.count, help="processes (default: the fastest number)")
    where.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, such as tcp://host:8786")
    options.store(parser)
    parser.set_defaults(run=_run)


def _add_show(commands):
    parser = options.command(commands, "show", "local and recorded results side by side with the paper's", SHOW)
    options.experiment(parser)
    options.preset(parser, every="every preset that has results")
    parser.add_argument("--attack", metavar="NAME", action="append", help="attacks to show; repeatable; all: every one")
    parser.add_argument("--json", metavar="OUT", help="also write the results to this file, as JSON")
    options.store(parser)
    parser.set_defaults(run=_show)


def _add_record(commands):
    parser = options.command(commands, "record", "keep the results of a finished run as a file for the book", RECORD)
    options.experiment(parser)
    options.preset(parser, default="smoke")
    options.seeds(parser)
    options.where(parser)
    options.store(parser)
    parser.set_defaults(run=_record)


def _experiments(_):
    from mialab.results import listing

    return output.stream(listing.blocks())


def _run(arguments):
    from mialab import experiments
    from mialab.engine import executors, run
    from mialab.engine.store import StoreError, open_store
    from mialab.results import show

    store, failure, left = open_store(arguments.store), None, 0
    seeds, where = arguments.seeds, options.chosen(arguments.where)
    with output.refusing(ValueError):
        experiment = experiments.get(arguments.name)
        cells = experiment.grid(arguments.preset, seeds=seeds, where=where)
    before = sum(map(store.has, cells))
    try:
        how = {"jobs": arguments.jobs, "scheduler": arguments.scheduler, "only": arguments.only}
        left = run.compute(cells, store, **how).left
    except (run.CellsFailed, executors.WorkersError, StoreError) as error:
        if sum(map(store.has, cells)) <= before:  # then a table would only push the error out of sight
            return output.fail(error, output.FAILED)
        failure = error
    results = show.gather(experiment, store, preset=arguments.preset, seeds=seeds, where=where)
    code = output.show(show.text(experiment, results) + _waiting(left))
    return code if failure is None else output.fail(failure, output.FAILED)


def _waiting(left: int) -> str:
    count = "1 cell waits" if left == 1 else f"{left} cells wait"
    return f"\n{count} for other parts (--only)\n" if left else ""


def _show(arguments):
    from mialab import experiments
    from mialab.engine.store import open_store
    from mialab.results import show

    place = None if arguments.json is None else output.target(arguments.json)
    with output.refusing(ValueError):
        experiment = experiments.get(arguments.name)
        results = show.gather(experiment, open_store(arguments.store), preset=arguments.preset)
        text = show.text(experiment, results, attacks=arguments.attack)
        content = None if place is None else show.to_dict(experiment, results, attacks=arguments.attack)
    failed = 0 if place is None else output.write(place, content)
    return output.show(text) or failed


def _record(arguments):
    from mialab import experiments
    from mialab.engine.store import open_store
    from mialab.results import recording

    with output.refusing(ValueError):
        experiment = experiments.get(arguments.name)
        seeds, where = arguments.seeds, options.chosen(arguments.where)
        place = recording.record(experiment, arguments.preset, open_store(arguments.store), seeds=seeds, where=where)
    return output.show(f"{place}\n")
