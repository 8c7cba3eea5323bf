"""The schema of a job: every setting with its type, meaning and default. Standard library only.

Each dataclass is a section of the config; the string under a field documents it. Enums hold closed
sets of choices. This is the only place with defaults: the YAML files under conf/ hold choices.
`JobConfig` is what travels to the workers; `LaunchConfig` adds what only the laptop needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

# OmegaConf reads these annotations at run time; on Python 3.10 it supports Optional[X], not X | None.
# ruff: noqa: UP045

MISSING = "???"
"""OmegaConf's mark for a value that a group file or the user must supply."""
NO_LANGUAGE = "und"
"""Language of rows whose source states none: the ISO 639 code for "undetermined"."""
PATTERN_LANGUAGE = "{language}"
"""Key under which a reader stores a language taken from the file pattern rather than a column."""
Texts = Any
"""Type of settings that hold a string, a list of strings, or null; OmegaConf has no such union."""
HUB_PREFIX = "hf://"
"""Prefix of patterns and locations in a Hugging Face Hub repository."""
AUTO = "auto"
"""Encoding, list of classes, or column of ids that is taken from the source itself; learning rate and
epochs that are looked up."""
DETECT = "detect"
"""Language column that does not exist: the language of each text is detected."""
SPLITS = ("train", "validation", "test")
"""Splits of every job."""
ALL = "all"
"""Split of a source from which all three are carved."""
ON_SAGEMAKER = {"where": "sagemaker"}
"""Metadata of settings that only apply to a SageMaker training job."""
IN_LAUNCH = {"where": "launch"}
"""Metadata of settings that only launch.py reads."""

BY_MODEL = {"default": "what suits the model"}
"""Metadata of settings whose default depends on the kind of model; composing fills it in."""
WHERE_USED = {"written": "where used"}
"""Metadata of settings and sections that a job file includes only if they differ from their defaults, so
that adding one leaves the digests of all other jobs unchanged."""


def since_torch(version: tuple[int, int], why: str) -> dict[str, Any]:
    """Mark a switch that requires this version of PyTorch, for the given reason."""
    return {"torch": version, "why": why}


class Source(Enum):
    """Origin of the reviews."""

    sample = "sample"
    files = "files"
    hub = "hub"


class Resume(Enum):
    """What a start does about the checkpoints in its run folder."""

    auto = "auto"
    required = "required"
    never = "never"


class FallbackBy(Enum):
    """Who goes through `cluster.fallback`: SageMaker itself, or this command."""

    sagemaker = "sagemaker"
    lingotune = "lingotune"


class ScalingRule(Enum):
    """Rule by which learning rate and batch scale with the number of processes."""

    none = "none"
    linear = "linear"
    sqrt = "sqrt"
    fixed_global = "fixed_global"


class Distribution(Enum):
    """SageMaker's way of starting one process per GPU; the names are the SDK's. none = one process."""

    none = "none"
    torch_distributed = "torch_distributed"
    smdistributed = "smdistributed"


class Lane(Enum):
    """Choice of the training image."""

    auto = "auto"
    pinned = "pinned"


class Precision(Enum):
    """Number format of the forward and backward pass; weights stay fp32."""

    auto = "auto"
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class Schedule(Enum):
    """Learning rate after the warm-up; the names are transformers' SchedulerType."""

    linear = "linear"
    cosine = "cosine"
    cosine_with_restarts = "cosine_with_restarts"
    polynomial = "polynomial"
    constant_with_warmup = "constant_with_warmup"


class Optimizer(Enum):
    """Optimizer of the weights; the names are those of the Trainer's `optim`, without its variants."""

    adamw = "adamw"
    adafactor = "adafactor"
    lion = "lion"

    @property
    def title(self) -> str:
        """Name as its authors write it."""
        return "AdamW" if self is Optimizer.adamw else self.value.capitalize()


class EvalStrategy(Enum):
    """Schedule for scoring the validation split during training."""

    none = "none"
    epoch = "epoch"
    steps = "steps"


class LabelsMode(Enum):
    """What the classes are to a text: it has one of them, any number, or a share of each."""

    single = "single"
    ordinal = "ordinal"
    multi = "multi"
    soft = "soft"


ONE_CLASS = (LabelsMode.single, LabelsMode.ordinal)
"""Modes in which a text has one class."""


class SelectMetric(Enum):
    """Validation metric that selects the best checkpoint."""

    macro_f1 = "macro_f1"
    micro_f1 = "micro_f1"
    worst_language_macro_f1 = "worst_language_macro_f1"
    seen_macro_f1 = "seen_macro_f1"
    unseen_macro_f1 = "unseen_macro_f1"
    accuracy = "accuracy"
    loss = "loss"
    mean_absolute_error = "mean_absolute_error"
    quadratic_kappa = "quadratic_kappa"


ON_SCALE = (SelectMetric.mean_absolute_error, SelectMetric.quadratic_kappa)
"""Metrics of ordered classes alone."""
COSTS = (SelectMetric.loss, SelectMetric.mean_absolute_error)
"""Metrics of which less is better."""


class Pooling(Enum):
    """Vector of a text that the classifier reads: its first token's, or the mean of all."""

    first = "first"
    mean = "mean"


class Decide(Enum):
    """How a class is chosen from the probabilities of all classes."""

    argmax = "argmax"
    macro_f1 = "macro_f1"
    prior = "prior"
    expected = "expected"
    median = "median"


class Baseline(Enum):
    """A simple model that is trained on the same rows, to be compared with."""

    auto = "auto"
    tfidf = "tfidf"
    none = "none"


class Visibility(Enum):
    """Visibility of the model on the Hugging Face Hub; none = not published."""

    none = "none"
    private = "private"
    public = "public"


class Tracker(Enum):
    """Experiment tracker in addition to TensorBoard; the names are those of the Trainer's `report_to`."""

    mlflow = "mlflow"
    wandb = "wandb"
    trackio = "trackio"


class Action(Enum):
    """Action of launch.py on the job."""

    plan = "plan"
    check = "check"
    rehearse = "rehearse"
    submit = "submit"


class Backend(Enum):
    """Backend of a submitted job: SageMaker, or a local server that behaves like it."""

    aws = "aws"
    loopback = "loopback"


class Output(Enum):
    """Output format of launch.py: a readable page, everything as JSON, or just the request as JSON."""

    page = "page"
    json = "json"
    request = "request"


class RunsMode(Enum):
    """Readers of what is written: this user alone, the group too, or everyone on the machine."""

    private = "private"
    group = "group"
    everyone = "everyone"


class Search(Enum):
    """Choice of a sweep's configurations: all of them, drawn at random, or by Optuna's TPE sampler."""

    grid = "grid"
    random = "random"
    tpe = "tpe"


class Prune(Enum):
    """Early end of a sweep's hopeless jobs: none, or asynchronous successive halving."""

    none = "none"
    asha = "asha"


class Retry(Enum):
    """Jobs of a sweep that start again although they have ended: none, the failed, or the stopped ones."""

    none = "none"
    failed = "failed"
    stopped = "stopped"


class SweepCode(Enum):
    """Code of a sweep's later jobs: as it was at the first submit, or as it is now."""

    pinned = "pinned"
    new = "new"


class InputMode(Enum):
    """Input mode of the data channel, as SageMaker names it."""

    File = "File"
    FastFile = "FastFile"


class Sdk(Enum):
    """Library that starts the job: SageMaker Python SDK v2 (HuggingFace) or v3 (ModelTrainer), or boto3."""

    v2 = "v2"
    v3 = "v3"
    boto3 = "boto3"


class Balance(Enum):
    """Treatment of rare classes."""

    none = "none"
    weights = "weights"
    resample = "resample"


BatchMode = Enum(
    "BatchMode",
    {"random": "random", "iid_balanced": "iid_balanced", "window": "window", "global": "global"},
)
"""Choice of the texts of an update, see `BatchingConfig.mode`. No class: `global` is a Python keyword."""


DeployKind = Enum(
    "DeployKind",
    {"realtime": "realtime", "serverless": "serverless", "async": "async", "batch": "batch"},
)
"""Ways to serve a model, see `DeployConfig.kind`. No class: `async` is a Python keyword."""


class Quoting(Enum):
    """Meaning of double quotes in CSV and TSV."""

    auto = "auto"
    standard = "standard"
    none = "none"


class Separator(Enum):
    """Field separator of CSV and TSV."""

    auto = "auto"
    comma = "comma"
    semicolon = "semicolon"
    tab = "tab"
    pipe = "pipe"


class OnError(Enum):
    """Treatment of rows that cannot be used."""

    stop = "stop"
    skip = "skip"


@dataclass
class LabelConfig:
    """One class of the classifier; its position in the list is its id."""

    name: str = MISSING
    """Readable name, as predictions print it."""
    values: list[str] = field(default_factory=list)
    """Raw values that mean this class, e.g. stars [1, 2]. The name itself always counts. true and false
    match in every spelling, 1 and 0 included; classes stored by number match by name and by number."""


@dataclass
class ColumnsConfig:
    """Column names in the source; null = the source has no such column."""

    text: str = "review_body"
    """The text to classify."""
    text_pair: Optional[str] = field(default=None, metadata=WHERE_USED)
    """If named, two texts are classified together, such as premise and hypothesis or question and answer:
    this is the second. The tokenizer joins them; of two that are too long, the longer one is cut first."""
    title: Optional[str] = None
    """If named, prepended to the text on a line of its own. In star reviews it gives the rating away."""
    stars: Optional[str] = None
    """Star rating, mapped by `data.labels`. Exactly one of stars and label is in the source."""
    label: Optional[str] = None
    """Class name or raw value, mapped by `data.labels`."""
    language: Optional[str] = None
    """Language of a row, used up to the per-language scores; detect = detected per text by py3langid."""
    id: Optional[str] = None
    """Row id, for messages and predictions; auto = the column with a usual name, such as id or review_id,
    where there is one. Rows without an id are named by their file and line."""
    group: Optional[str] = None
    """Rows that share a value here stay in the same split, e.g. reviews of one product or by one person."""
    source: Optional[str] = field(default=AUTO, metadata=WHERE_USED)
    """Where a row comes from, for scores by source; auto = the column with a usual name, such as source,
    where there is one, else the row's file. null = no scores by source."""


@dataclass
class SampleConfig:
    """The embedded generated reviews (`data=sample`)."""

    train_rows: int = 600
    """Rows of each language to train on."""
    validation_rows: int = 100
    """Rows of each language to validate on."""
    test_rows: int = 150
    """Rows of each language scored once, at the end."""
    seed: int = 0
    """Seed of the generator: same seed and sizes, same bytes. Separate from the job's seed, so that runs
    with different seeds share their data."""


@dataclass
class RowCounts:
    """Rows per language; null = unknown until the data is read."""

    train: Optional[int] = None
    """Rows of the training split."""
    validation: Optional[int] = None
    """Rows of the validation split."""
    test: Optional[int] = None
    """Rows of the test split."""


@dataclass
class DataConfig:
    """Reviews, their columns, labels and splits."""

    name: str = MISSING
    """Short name, part of the run's name."""
    source: Source = MISSING  # type: ignore[assignment]
    """sample | files | hub; set by the group file."""
    path: Texts = None
    """source=files: a file, a glob or a folder, or a list of them; split by the shares below. Files on the
    hub (hf://datasets/OWNER/NAME/train.jsonl) make it source=hub. s3:// and https:// are fetched once.

    Files whose paths speak of splits (train.jsonl, de/dev.csv; train/, test/) make these splits.
    """
    train: Texts = None
    """File or glob of the training split, or a list of them, in place of `path`. `{language}` stands for
    each language."""
    validation: Texts = None
    """The same for validation."""
    test: Texts = None
    """The same for test."""
    pool: bool = False
    """Treat the files of `path` as one source even if their names say that they are different splits."""
    encoding: str = AUTO
    """Encoding of text files, e.g. cp1252, utf-16; auto = detected for each file and reported."""
    separator: Separator = Separator.auto
    """Field separator of CSV and TSV; auto = the one that splits header and rows consistently."""
    quoting: Quoting = Quoting.auto
    """Double quotes in CSV and TSV. standard: they enclose fields that contain separators or line breaks.
    none: they are ordinary characters. auto: standard, but rows that quotes appear to have merged are
    reported, and TSV with unbalanced quotes is read as none."""
    sheet: Optional[str] = None
    """Sheet of spreadsheets; null = the only one that has rows."""
    header: list[str] = field(default_factory=list)
    """Column names of CSV, TSV and spreadsheets that have no header row; empty = the first row has them."""
    languages: list[str] = field(default_factory=list)
    """Languages to keep; empty = all. Spellings are normalised to BCP 47: en includes en-US and English."""
    train_languages: list[str] = field(default_factory=list, metadata=WHERE_USED)
    """Languages to train on; the others are only scored, as languages that the model has not seen: neither
    its decision nor its temperature is fitted on their rows. empty = all."""
    max_rows: Optional[int] = field(default=None, metadata=WHERE_USED)
    """Training rows of each language and class at most, chosen by their ids, so that more rows contain
    those of fewer; null = all. A text of several classes counts for the rarest of them. Prepared data, and
    the vocabulary of a model from scratch, stay those of all rows."""
    language_map: dict[str, str] = field(default_factory=dict)
    """Spelling in the source -> language code, for spellings that are not recognised or not to be merged,
    e.g. {pt-BR: pt-BR, simple: en}."""
    default_language: Optional[str] = None
    """Language of rows that state none; null = such rows are errors if a language column is named."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    """Column names of the source."""
    labels: list[LabelConfig] = field(default_factory=list)
    """The classes in the order of their ids. A list on the command line replaces the whole list; [a, b] is
    short for classes without further values. auto = the sorted values of the label column, 100 at most;
    the source is read for them, and the job file lists them."""
    labels_mode: LabelsMode = field(default=LabelsMode.single, metadata=WHERE_USED)
    """single = one class for each text. ordinal = one class, where `data.labels` lists them from one end of
    a scale to the other, e.g. stars 1 to 5: scores say how far predictions are off, and predictions give
    the expected value. multi = any number of them, none included. soft = a distribution over them, such as
    the votes of annotators. The last two are read from `columns.label`, as a list; where the source has no
    such column, from a column for each class, called like it: of 0 and 1, or of shares."""
    label_separator: Separator = field(default=Separator.auto, metadata=WHERE_USED)
    """labels_mode=multi: what stands between the classes in a text cell; auto = the first of | ; tab and
    comma that is in it. A cell that names one class, or holds a list as JSON or Python writes it, is read
    as that."""
    label_offset: int = 0
    """Offset added to whole-number raw values before the mapping: 1 if labels 0-4 mean stars 1-5."""
    rows: RowCounts = field(default_factory=RowCounts)
    """source=hub: known sizes for the plan, compared with the data once it is read."""
    max_length: int = 128
    """Maximum tokens per text, special tokens included; longer texts are truncated at the end."""
    validation_share: float = 0.1
    """Share of the rows of `path` for validation, stratified by language and class."""
    test_share: float = 0.1
    """Share of the rows of `path` for the test split; 0 without one = nothing is scored on test."""
    split_seed: Optional[int] = field(default=None, metadata=WHERE_USED)
    """Seed by which rows of `path` are drawn for validation and test: 42 whatever the job's `seed`, so that
    runs of several seeds are scored on the same rows. null = the job's `seed`, as in job files that do not
    name it."""
    unique_texts: bool = True
    """Drop training texts that also occur in validation or test, and validation texts that are in test."""
    normalize: bool = True
    """Normalise texts to Unicode NFC, so that equal spellings have equal code points."""
    on_error: OnError = OnError.stop
    """Treatment of rows that cannot be used: stop, or skip them and list them in rejected.jsonl."""
    max_rejected: float = 0.01
    """on_error=skip: share of rows that may be rejected before the run stops."""
    language_alpha: Optional[float] = None
    """Exponent of language sampling: a language is drawn in proportion to its rows to this power. 1 = in
    proportion, 0 = uniformly. null = 1."""
    balance: Balance = Balance.none
    """Treatment of rare classes: weights = weighted up in the loss (labels_mode=multi: the rows that have a
    class, against those that have it not); resample = drawn more often within each language; none = left as
    they are."""
    sample: SampleConfig = field(default_factory=SampleConfig)
    """Sizes of the generated sample."""

    def __post_init__(self) -> None:
        """Turn file names that look like numbers into strings, and hf:// files into a hub source."""
        named: list[Any] = []
        for name in ("path", *SPLITS):
            value = getattr(self, name)
            if isinstance(value, list):
                setattr(self, name, [str(one) for one in value])
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                setattr(self, name, str(value))
            named += value if isinstance(value, list) else [] if value is None else [value]
        on_hub = bool(named) and all(str(one).startswith(HUB_PREFIX) for one in named)
        if on_hub and self.source in (Source.files, Source.hub):
            self.source = Source.hub
            if self.path is not None and self.train is None:  # the rest is carved out of it
                self.train, self.path = self.path, None


@dataclass
class ArchitectureConfig:
    """A DistilBERT trained from scratch, with a WordPiece vocabulary built from the training texts."""

    dim: int = 64
    """Hidden size."""
    hidden_dim: int = 256
    """Size of the feed-forward layer."""
    layers: int = 2
    """Transformer layers."""
    heads: int = 4
    """Attention heads; must divide `dim`."""
    dropout: float = 0.1
    """Dropout of embeddings, layers and attention."""
    vocab_size: int = 3000
    """Maximum size of the vocabulary, special tokens included."""


@dataclass
class ModelConfig:
    """The encoder to fine-tune: pretrained or from scratch."""

    name: str = MISSING
    """Short name, part of the run's name."""
    name_or_path: Optional[str] = MISSING
    """Hub id or local folder of a pretrained model or, on SageMaker, its s3:// prefix; null = built from
    `scratch`. A local folder is uploaded for a SageMaker job."""
    revision: Optional[str] = None
    """Commit, tag or branch of the hub model; null = its main branch."""
    remote_code: Optional[str] = field(default=None, metadata=WHERE_USED)
    """Commit (40 hexadecimal digits) of the code that a model of the hub brings along, which this run may
    execute. Typed for each run, never in a file; null = no such code runs."""
    scratch: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    """Architecture if there is no pretrained model."""
    pooling: Optional[Pooling] = field(default=None, metadata=WHERE_USED)
    """What the classifier reads of a text: first = the vector of its first token, mean = the mean of all
    tokens, which ModernBERT and EuroBERT alone can. null = as the model's config.json says."""
    head_dropout: Optional[float] = field(default=None, metadata=WHERE_USED)
    """Dropout of what the classifier's head reads; null = as the model's config.json says, or as
    `scratch.dropout` of a model from scratch."""


@dataclass
class ImageConfig:
    """The Hugging Face training image on SageMaker."""

    lane: Lane = Lane.auto
    """auto = the newest image that supports GPU and distribution; pinned = the versions below."""
    transformers: Optional[str] = None
    """Version of the pinned image, as the SDK lists it."""
    pytorch: Optional[str] = None
    """Version of the pinned image, as the SDK lists it."""
    python: Optional[str] = None
    """Python tag of the pinned image, e.g. py310."""
    uri: Optional[str] = None
    """lane=pinned: your own image in ECR, derived from one of these; its contents are not checked."""


@dataclass
class MachineConfig:
    """A machine that a job may get in place of its first choice. All give the same global batch."""

    name: Optional[str] = None
    """Option of the group cluster, or an instance type; a name in the list is short for such a row."""
    instance_type: Optional[str] = None
    """SageMaker instance type; null = that of `name`."""
    nodes: Optional[int] = None
    """Instances of that type; null = those of `name`, or as many as `cluster.nodes`."""
    gpus_per_node: Optional[int] = None
    """GPUs used per node; null = all of the instance. A composed job holds the number."""
    per_device_bs: Optional[int] = None
    """Examples per GPU and pass; null = at most the job's `per_device_bs`, such that the global batch is
    the same and the GPU's memory is enough. A composed job holds the number."""
    accumulation: Optional[int] = None
    """Backward passes per update; null = as many as give the job's global batch."""


@dataclass
class ClusterConfig:
    """The machines: this one, or SageMaker instances."""

    name: str = MISSING
    """Short name, as in cluster=NAME."""
    instance_type: Optional[str] = None
    """SageMaker instance type, e.g. ml.p3.16xlarge; null = this machine."""
    nodes: int = 1
    """Instances of that type."""
    gpus_per_node: int = 0
    """GPUs used per node, one process each; 0 = CPU."""
    processes: int = 1
    """Processes per node without GPUs."""
    threads: Optional[int] = None
    """CPU threads per process; null = chosen by torch."""
    distribution: Distribution = Distribution.torch_distributed
    """SageMaker's way of starting the processes."""
    image: ImageConfig = field(default_factory=ImageConfig)
    """The training image."""
    max_run: int = field(default=14400, metadata=ON_SAGEMAKER)
    """Seconds after which SageMaker stops the job: the upper bound of what is billed per node."""
    spot: bool = field(default=False, metadata=ON_SAGEMAKER)
    """Use spare capacity at a lower price; AWS may interrupt the job."""
    max_wait: Optional[int] = field(default=None, metadata=ON_SAGEMAKER)
    """spot: maximum seconds of waiting plus running; null = twice `max_run`."""
    keep_alive: Optional[int] = field(default=None, metadata=ON_SAGEMAKER)
    """Seconds for which the machines are kept for the next job (a warm pool). They are billed."""
    retries: Optional[int] = field(default=None, metadata=ON_SAGEMAKER)
    """Number of restarts after an internal AWS failure; null = none."""
    fallback: list[MachineConfig] = field(
        default_factory=list, metadata={**ON_SAGEMAKER, **WHERE_USED}
    )
    """Machines to take in this order where the first choice has no capacity, at most four: options of the
    group cluster or instance types, e.g. [g6e_12xl,g5_12xl]. The job starts on the first that AWS has, and
    that one is billed."""
    fallback_by: FallbackBy = field(
        default=FallbackBy.sagemaker, metadata={**ON_SAGEMAKER, **WHERE_USED}
    )
    """fallback: sagemaker = AWS walks the list (`InstancePreferences`; not with spot nor the SDK v2).
    lingotune = this command, or the sweep, starts one after the other, and has to stay until one runs."""
    max_pending: Optional[int] = field(default=None, metadata={**ON_SAGEMAKER, **WHERE_USED})
    """Seconds that a job waits for capacity before SageMaker gives up, from 1800; with a list, for all of
    it together. null = until SageMaker says that there is none."""
    volume_gb: Optional[int] = field(default=None, metadata=ON_SAGEMAKER)
    """GB of the storage volume; null = SageMaker's 30. Instances with NVMe disks have no volume."""
    input_mode: InputMode = field(default=InputMode.File, metadata=ON_SAGEMAKER)
    """File = the data is copied before the start; FastFile = it is streamed on demand. A model of your own
    is copied in any case."""
    checkpoints: bool = field(default=True, metadata=ON_SAGEMAKER)
    """Copy checkpoints to S3 while training."""
    tensorboard: bool = field(default=False, metadata=ON_SAGEMAKER)
    """Copy TensorBoard logs to S3 while training; they are part of the output in any case."""
    compress_output: bool = field(default=True, metadata=ON_SAGEMAKER)
    """Upload the model as one model.tar.gz; false = as separate files."""
    environment: dict[str, str] = field(default_factory=dict, metadata=ON_SAGEMAKER)
    """Environment variables of the worker. Anyone who may describe the job can read them: no secrets."""
    training_plan: Optional[str] = field(default=None, metadata=ON_SAGEMAKER)
    """ARN of a SageMaker training plan that holds reserved capacity."""
    ultra_server: Optional[str] = field(default=None, metadata=ON_SAGEMAKER)
    """Id of the UltraServer to place the instances on."""
    remote_debug: bool = field(default=False, metadata=ON_SAGEMAKER)
    """Allow a shell in the running container through AWS Systems Manager."""
    profiler: bool = field(default=False, metadata=ON_SAGEMAKER)
    """Enable SageMaker's profiler, which runs processing jobs of its own."""


@dataclass
class ScalingConfig:
    """Scaling of learning rate and batch with the cluster."""

    rule: ScalingRule = ScalingRule.none
    """none: lr as typed. linear: lr x (global batch / base_batch). sqrt: lr x the root of that ratio.
    fixed_global: the global batch is given and the accumulation derived from it."""
    base_batch: Optional[int] = None
    """linear, sqrt: global batch for which `lr` was chosen."""
    global_batch: Optional[int] = None
    """fixed_global: examples per update, over all processes."""
    accumulation: Optional[int] = None
    """Backward passes per update; null = 1. Derived by fixed_global."""


@dataclass
class BatchingConfig:
    """Composition of each update, and its distribution over the processes."""

    mode: BatchMode = BatchMode.window
    """random: drawn at random, in batches of `per_device_bs`. iid_balanced: the same draws, but the batches
    of each update are balanced by cost. window: texts of similar length, grouped within windows of the
    random order. global: grouped within the whole epoch."""
    window: Optional[int] = None
    """mode=window: global batches per window; null = enough for 16384 rows, at least 64. Fewer are more
    random, and slower."""
    padding_free: bool = field(
        default=False,
        metadata=since_torch((2, 5), "PyTorch supports attention without padding since 2.5"),
    )
    """Train without padding: the texts of a batch are concatenated, and attention keeps them apart. Same
    result; pays off on GPUs with texts of mixed lengths, as in mode=iid_balanced."""
    pad_to_multiple_of: Optional[int] = None
    """Multiple to which batch widths are rounded up, but not beyond the longest text; null = 8 on GPUs,
    16 with training.compile, 1 on CPUs."""
    longest_first: bool = False
    """Start each epoch with the update that needs most memory: what does not fit fails at once."""


@dataclass
class LoraConfig:
    """Low-rank adapters (LoRA): the encoder stays as it is, and small matrices beside its layers are
    trained, with the classifier. The saved model has them merged in, and is as any other."""

    rank: Optional[int] = None
    """Rank of the adapters, e.g. 8; null = no LoRA: all weights are trained. LoRA learns at about ten times
    the learning rate."""
    alpha: Optional[int] = None
    """Scale of the adapters: their product counts alpha / rank times; null = twice the rank."""
    dropout: float = 0.0
    """Dropout of what goes into the adapters."""
    targets: list[str] = field(default_factory=list)
    """Ends of the names of the layers that get adapters, e.g. [query,value]; empty = all linear layers of
    the encoder, as they are called in its architecture."""


@dataclass
class TrainingConfig:
    """Optimisation, in the terms of transformers."""

    max_steps: Optional[int] = None
    """Total number of updates, instead of `epochs`; null = derived from epochs."""
    warmup_ratio: float = 0.1
    """Share of all updates over which the learning rate rises from 0."""
    warmup_steps: Optional[int] = None
    """Updates of the warm-up, instead of `warmup_ratio`."""
    schedule: Schedule = Schedule.linear
    """Learning rate after the warm-up: down to 0 in a line, along a cosine or `schedule_cycles` of them, or
    by the power `schedule_power` of what is left; or constant."""
    schedule_power: float = field(default=2.0, metadata=WHERE_USED)
    """schedule=polynomial: power of the share of the updates that is left; 1 = linear."""
    schedule_cycles: int = field(default=2, metadata=WHERE_USED)
    """schedule=cosine_with_restarts: cosines, each of which begins at the full learning rate."""
    optimizer: Optimizer = field(default=Optimizer.adamw, metadata=WHERE_USED)
    """adamw: two moments for each weight, 8 bytes. adafactor: a row and a column of them for each matrix,
    next to no memory. lion: one moment, 4 bytes, at a third to a tenth of AdamW's learning rate; on GPUs,
    by bitsandbytes."""
    weight_decay: float = 0.0
    """Weight decay, decoupled from the gradient, not applied to biases and layer norms."""
    max_grad_norm: float = 1.0
    """Norm to which gradients are clipped."""
    label_smoothing: float = 0.0
    """Share of each training target spread evenly over all classes; 0 = none."""
    layer_decay: float = 1.0
    """Ratio of a layer's learning rate to that of the layer above it, from the classifier (`lr`) down to
    the embeddings; 1 = the same for all."""
    compact_vocabulary: Optional[bool] = None
    """Train only the rows of the word embeddings that the data uses: the same weights with less memory and
    traffic, and every checkpoint has all rows. null = wherever that is exact, that is, without weight
    decay, which changes unused rows too."""
    first_token_only: Optional[bool] = None
    """Compute the last layer for the first token only, the one that the classifier reads: the same result
    up to rounding, with less work. null = if the architecture allows it."""
    compile: bool = field(
        default=False,
        metadata=since_torch((2, 1), "PyTorch compiles a program for each width since 2.1"),
    )
    """Compile the model with torch.compile, on GPUs with one CUDA graph per batch width: pays off if
    batches are so small that the host cannot keep up. The first updates take minutes."""
    freeze_embeddings: bool = False
    """Freeze the word embeddings; faster, with a different result."""
    freeze_layers: int = field(default=0, metadata=WHERE_USED)
    """Encoder layers to freeze, from the first; with `freeze_embeddings` nothing below the next one is
    computed backwards, which saves time and memory."""
    gradient_checkpointing: bool = field(default=False, metadata=WHERE_USED)
    """Keep each layer's input only, and compute the layer again in the backward pass: the same result in
    a third more time, with a fraction of the memory for activations."""
    lora: LoraConfig = field(default_factory=LoraConfig, metadata=WHERE_USED)
    """Low-rank adapters in place of training all weights."""
    sparse_exchange: bool = field(
        default=False,
        metadata=since_torch((2, 1), "PyTorch signals finished gradients since 2.1"),
    )
    """Older name of row_exchange=true; false = as `row_exchange` says."""
    row_exchange: Optional[bool] = field(
        default=None,
        metadata=WHERE_USED | since_torch((2, 1), "PyTorch signals finished gradients since 2.1"),
    )
    """Exchange only those rows of the word embeddings' gradient between processes that an update has
    touched: the same sum, up to rounding for more than two processes, with less traffic. null = where it
    pays, which several processes measure at their start; a resumed run keeps to it."""
    compress_gradients: bool = False
    """Exchange gradients between GPUs in the half precision of the training: half the traffic, rounded.
    CPUs exchange them in full."""
    shard: bool = False
    """Shard weights, gradients and optimizer state over the processes (FSDP2), for models that do not fit
    on one GPU. Traffic grows by about half; whole models are saved."""
    precision: Precision = Precision.auto
    """auto: fp16 on V100 and T4, bf16 on newer GPUs and on CPUs with native bf16, else fp32."""
    eval_strategy: EvalStrategy = EvalStrategy.epoch
    """Schedule for scoring the validation split; none = only at the end, keeping the last weights."""
    eval_steps: Optional[int] = None
    """eval_strategy=steps: updates between evaluations."""
    patience: Optional[int] = field(default=None, metadata=WHERE_USED)
    """Evaluations in a row without a better score (`evaluation.select`) after which the training ends; null
    = it is trained to its end. The learning rate follows the whole length in any case."""
    min_delta: float = field(default=0.0, metadata=WHERE_USED)
    """patience: gain over the best score so far that counts as better."""
    max_hours: Optional[float] = field(default=None, metadata=WHERE_USED)
    """Hours of training, evaluations and earlier attempts included, after which it ends with the best
    weights so far; null = it is trained to its end. The learning rate follows the whole length in any
    case."""
    save_steps: Optional[int] = None
    """Updates between checkpoints; null = at evaluations, or at the end of each epoch."""
    keep_checkpoints: int = 2
    """Checkpoints kept on disk, the newest; each holds the best weights so far, too."""
    fit_memory: bool = field(default=False, metadata=WHERE_USED)
    """Train in smaller micro-batches where the planned ones do not fit into memory: half the examples in
    twice the passes, again and again, so that global batch, learning rate and gradient stay. What fits is
    found by a trial of the longest texts before the first update, on GPUs, or below `ulimit -v`."""
    max_skipped: int = field(default=20, metadata=WHERE_USED)
    """Updates in a row that fp16 may skip, as its scale of the loss is too large, before the run stops.
    Single ones are normal; each halves the scale."""
    stop_timeout: int = field(default=100, metadata=WHERE_USED)
    """Seconds to save a checkpoint after SIGTERM, SIGHUP or Ctrl-C; then the run stops with the one before.
    SageMaker kills after 120."""
    peer_timeout: int = field(default=45, metadata=WHERE_USED)
    """Seconds without a sign of life from another process (killed, stopped, its machine gone) before all
    stop with exit code 9."""
    hang_timeout: int = field(default=45, metadata=WHERE_USED)
    """Seconds without progress of an update, or of a batch that is scored, before all processes print
    where they are and stop with exit code 9; ten times the longest before, where that is more. The first
    three updates, which may compile, and loading, saving and preparing data have half an hour."""
    logging_steps: int = 10
    """Updates between log lines."""
    report_to: list[Tracker] = field(default_factory=list)
    """Trackers used in addition to TensorBoard: mlflow, wandb, trackio. Their own environment variables
    configure them."""


@dataclass
class EvaluationConfig:
    """Scoring of checkpoints and of the final model."""

    select: SelectMetric = SelectMetric.macro_f1
    """Validation metric whose best checkpoint becomes the model. seen_macro_f1, unseen_macro_f1: on rows in
    the languages of `data.train_languages`, and on those in the others."""
    per_device_bs: Optional[int] = None
    """Examples per process and evaluation step; null = twice `per_device_bs` of the job."""
    resamples: int = 1000
    """Bootstrap samples behind the 95 % intervals of the final scores; 0 = no intervals."""
    decide: Decide = field(default=Decide.macro_f1, metadata=WHERE_USED)
    """How predictions are decided, in scores, `predict` and `evaluate`. argmax = the likeliest class;
    macro_f1 = the largest log-probability plus an offset per class, per language where rows suffice, fitted
    on the validation split for macro-F1, if cross-validation finds that they help; prior = offsets that
    divide by the class shares of the validation split. Test rows are never fitted on. Of ordered classes
    alone (`data.labels_mode`): median = the first with half of the probability at or below it; expected =
    the one nearest to the expected value. With data.labels_mode=multi each class has a threshold: of 0.5;
    the best for its F1; or its share."""
    calibrate: bool = field(default=True, metadata=WHERE_USED)
    """Rescale the probabilities by a temperature fitted on the validation split; no prediction changes by
    it."""


@dataclass
class HubConfig:
    """Publishing on the Hugging Face Hub. There is no field for a token: it is passed by reference."""

    visibility: Visibility = Visibility.none
    """none = do not publish."""
    repo: Optional[str] = None
    """Repository, `owner/name` or `name`; null = the run's name and six digits of its job's digest."""
    token_secret: Optional[str] = None
    """Name or ARN of the AWS secret that holds the token (or ARN of an SSM parameter), read by the job's
    role; private models and datasets on the hub are read with it, too. null = HF_TOKEN, or the hub's own
    token file, on the machine that trains."""
    license: Optional[str] = None
    """License of the published model, as the hub names it, e.g. apache-2.0; null = that of the base model,
    if its card names one."""
    timeout: int = 3600
    """Seconds that the last push may take; what remains can be published later with `publish RUN`."""


@dataclass
class CodeConfig:
    """User code without a fork: metrics, a model builder and Trainer callbacks, by name."""

    file: Optional[str] = None
    """Python file that defines them; it travels with the job. On the command line, relative to the current
    folder; in a group file, to the folder of your group files. null = only installed packages."""
    metrics: list[str] = field(default_factory=list)
    """Names of additional metrics: functions marked with @metric."""
    select: Optional[str] = None
    """Member of `metrics` whose best checkpoint becomes the model, instead of `evaluation.select`."""
    builder: Optional[str] = None
    """Name of the function, marked with @model_builder, that builds the model; null = the stock one."""
    callbacks: list[str] = field(default_factory=list)
    """Names of Trainer callbacks, marked with @callback, in calling order."""
    requirements: list[str] = field(default_factory=list)
    """Packages that pip installs for them on a worker, e.g. ['scikit-learn==1.5.0']. Packages whose entry
    points are named above are added when the job is composed, in the installed version."""
    sha256: Optional[str] = None
    """Digest of `file`, filled in when the job is composed; a file with a different digest is refused."""


@dataclass
class DistillationConfig:
    """Knowledge distillation: a model learns from the probabilities of a larger one, its teacher, as well
    as from the labels (Hinton et al. 2015). `lingotune distill RUN student=...` fills it in."""

    teacher: Optional[str] = None
    """Run folder, or folder of a saved model, with the same classes; null = no distillation. It is asked
    once, when the data is prepared, and its probabilities travel with the data."""
    sha256: Optional[str] = None
    """Digest of the teacher's files, filled in when the job is composed; others are refused."""
    alpha: float = 0.5
    """Weight of the labels in the loss, from 0 to 1; the teacher's probabilities have the rest. 1 would
    leave the teacher out."""
    temperature: float = 2.0
    """Temperature of both models' probabilities in the loss, which is multiplied by its square: above 1,
    the teacher's lesser classes count more."""
    texts: Optional[str] = None
    """File, glob or folder of texts without labels to learn from, too: lines of .txt, or the data's columns
    of other files. Texts of any split are left out."""


@dataclass
class JobConfig:
    """One training job: everything that a worker needs, the same on every worker."""

    name: str = MISSING
    """Run name: letters, digits and hyphens."""
    seed: int = 42
    """Seed of initialisation, order and dropout; the rows of the splits are drawn by `data.split_seed`."""
    lr: float = field(default=MISSING, metadata=BY_MODEL)  # type: ignore[assignment]
    """Learning rate before `scaling`. By default, and with auto, 1e-3 from scratch; 3e-4, 5e-5, 3e-5 or
    1e-5 for a very small, a small, a base or a large pretrained model; 1e-4 for T5; with LoRA ten times
    that of all weights."""
    per_device_bs: int = field(default=MISSING, metadata=BY_MODEL)  # type: ignore[assignment]
    """Examples per process (one GPU) and forward-backward pass. By default 32 from scratch, 16 for a
    pretrained model, 8 for a large one."""
    epochs: float = field(default=MISSING, metadata=BY_MODEL)  # type: ignore[assignment]
    """Passes over the training split, also a part of one, such as 0.5. By default, and with auto, 5 from
    scratch; for a pretrained model from 10 to 2, the more the fewer training rows there are, and 3 where
    their number is not known when the job is composed."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The encoder."""
    data: DataConfig = field(default_factory=DataConfig)
    """The reviews."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """The machines."""
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    """Scaling of batch and learning rate."""
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    """Composition of batches."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """Optimisation."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Scoring."""
    hub: HubConfig = field(default_factory=HubConfig)
    """Publishing."""
    code: CodeConfig = field(default_factory=CodeConfig, metadata=WHERE_USED)
    """User-defined metrics, model builder and callbacks."""
    distillation: DistillationConfig = field(
        default_factory=DistillationConfig, metadata=WHERE_USED
    )
    """Learning from the probabilities of a larger model."""
    baseline: Baseline = field(default=Baseline.auto, metadata=WHERE_USED)
    """Simple model that is trained on the same rows after the training, and scored beside it: TF-IDF of
    character n-grams with logistic regression, as the classes are and balanced. auto = where scikit-learn
    is installed (the extra `baseline`) and the texts are few enough for about a minute; tfidf = in any
    case; none = never."""
    resume: Resume = field(default=Resume.auto, metadata=WHERE_USED)
    """auto: go on from the newest whole checkpoint in the run folder, from the start without one. required:
    stop with exit code 4 without one. never: start over; checkpoints that are there are set aside. Not part
    of the run: the same run may be started with either."""

    def __post_init__(self) -> None:
        """Keep whole epochs as a whole number, as job files have always written them."""
        if isinstance(self.epochs, float) and self.epochs.is_integer():
            self.epochs = int(self.epochs)


def further_metrics(job: JobConfig) -> list[str]:
    """List the scores that not every job has: of several or ordered classes, of the languages that are
    trained on and of the others, and those of the user."""
    kinds = {LabelsMode.multi: (SelectMetric.micro_f1,), LabelsMode.ordinal: ON_SCALE}
    zero_shot = (SelectMetric.seen_macro_f1, SelectMetric.unseen_macro_f1)
    own = [*kinds.get(job.data.labels_mode, ()), *(zero_shot if job.data.train_languages else ())]
    return [*(one.value for one in own), *job.code.metrics]


def selected_by(job: JobConfig) -> str:
    """Return the name of the validation metric that selects the best checkpoint."""
    return job.code.select or job.evaluation.select.value


def split_seed(job: JobConfig) -> int:
    """Return the seed by which a job's splits are drawn."""
    return job.seed if job.data.split_seed is None else job.data.split_seed


@dataclass
class AwsConfig:
    """AWS account settings of launch.py. Not part of the job: the same job may run in any account."""

    region: Optional[str] = None
    """AWS region; null = from the AWS configuration of this machine."""
    role: Optional[str] = None
    """ARN of the IAM role that the job assumes."""
    bucket: Optional[str] = None
    """S3 bucket for code, config, data and output."""
    prefix: str = "lingotune"
    """Key prefix in the bucket."""
    sdk: Sdk = Sdk.boto3
    """boto3 | v2 | v3: library that starts the job, with the same request; a sweep sends it by itself, one
    call for each job. Support for v2 ends on 2027-07-05."""
    kms_key: Optional[str] = None
    """KMS key that encrypts uploads and output; null = the bucket's default encryption."""
    volume_kms_key: Optional[str] = None
    """KMS key of the storage volume; NVMe instance storage is encrypted in hardware."""
    subnets: list[str] = field(default_factory=list)
    """Subnets of the VPC that the machines join; empty = SageMaker's own network."""
    security_groups: list[str] = field(default_factory=list)
    """Security groups in that VPC."""
    encrypt_traffic: bool = False
    """Encrypt traffic between nodes; slower."""
    network_isolation: bool = False
    """Run the container without network; requires your own image (`cluster.image.uri`)."""
    tags: dict[str, str] = field(default_factory=dict)
    """Tags of the training job, in addition to lingotune's own three, and of its uploads."""
    model_group: Optional[str] = None
    """ARN of the model package group in SageMaker's registry that the model becomes a version of."""
    mlflow: Optional[str] = None
    """ARN of SageMaker's MLflow, server or app, that `training.report_to=[mlflow]` reports to."""
    queue: Optional[str] = None
    """AWS Batch queue for SageMaker training jobs; null = start immediately."""
    queue_share: Optional[str] = None
    """Share identifier of a fair-share queue."""
    queue_quota_share: Optional[str] = None
    """Name of a quota share of the queue, whose capacity the job takes."""
    queue_priority: Optional[int] = None
    """Priority in the queue, from 0 to 9999."""
    notify: Optional[str] = None
    """ARN of an SNS topic that is told when a job has completed, failed or stopped; null = nobody is."""


@dataclass
class DeployConfig:
    """Serving of a trained model by SageMaker: `lingotune deploy RUN`, which needs no prefix for them."""

    kind: DeployKind = DeployKind.realtime
    """realtime = an endpoint that answers at once, and bills until it is deleted. serverless = an endpoint
    on CPUs that bills only while it computes, and answers slowly after a pause. async = an endpoint that
    takes requests from S3 and puts answers there. batch = a transform job: a file or prefix in S3 is
    classified, then everything ends."""
    name: Optional[str] = None
    """Name of the endpoint; null = the run's name. A batch's job is called after it, and after what it
    classifies."""
    instance_type: Optional[str] = None
    """SageMaker instance type; null = ml.m5.xlarge. Not for serverless."""
    count: int = 1
    """Instances. Not for serverless."""
    processes: Optional[int] = None
    """Processes on each instance, each with the model; null = one for each vCPU as far as memory suffices,
    one on a GPU, one if serverless."""
    memory_mb: int = 3072
    """Serverless: memory in MB, a multiple of 1024 from 1024 to 6144."""
    max_concurrency: int = 5
    """Serverless: requests at a time, from 1 to 200; those beyond it are refused."""
    image: Optional[str] = None
    """ECR address of an inference image; null = the newest Hugging Face image of AWS."""
    input: Optional[str] = None
    """Batch: s3:// file or prefix with the texts: .jsonl, .csv or .txt."""
    answers: Optional[str] = None
    """Batch and async: s3:// prefix for the answers; null = below `aws.bucket` and `aws.prefix`."""
    timeout: int = 3600
    """Batch and async: seconds that one request may take, from 1 to 3600. Other endpoints have 60."""


@dataclass
class BudgetConfig:
    """Cost limit, and the sources of the plan's figures."""

    max_usd: Optional[float] = None
    """Refuse a job or sweep whose worst case costs more than this."""
    confirm_usd: Optional[float] = None
    """Ask before a submit whose worst case, of all its jobs, is above this; 0 = before any. Without a
    terminal it is refused unless --yes is typed. null = never ask: typing action=submit is the answer."""
    usd_per_hour: Optional[float] = None
    """On-demand price of one instance, instead of the price list."""
    prices: Optional[str] = None
    """Your own price list: `python -m lingotune prices --region R > prices.json` fetches one."""


@dataclass
class SweepConfig:
    """Many jobs of one command: what varies, how it is searched, how many run at a time."""

    name: Optional[str] = None
    """Name of the sweep and of its folder in `runs_dir`; null = that of its file, or sweep- and the first 8
    digits of what it varies."""
    params: dict[str, str] = field(default_factory=dict)
    """In a file: setting or group -> its values, as a list or as typed with -m: `1e-5,3e-5`, `range(3)`,
    `glob(g*)`; with a search also `interval(1e-5,1e-4)`. On the command line -m adds to them."""
    search: Search = Search.grid
    """grid = every combination. random, tpe = `trials` configurations from `choice(...)` and
    `interval(...)`: drawn at random, or near the best so far."""
    trials: Optional[int] = None
    """Configurations of a search; seeds, its repetitions, do not count."""
    seed: int = 1
    """Seed of the search: the same seed and scores, the same suggestions."""
    prune: Prune = Prune.none
    """asha = end a job early that is worse than most at the same evaluation; none = train all."""
    reduction: int = 3
    """asha: one in this many configurations goes on after each rung, which is this many times longer."""
    min_evaluations: Optional[int] = None
    """asha: evaluations before the first rung, below which nothing is ended early; null = as many as are
    worth more time than the start of a job, as measured by earlier sweeps, at least 2 on SageMaker."""
    max_parallel: Optional[int] = None
    """Jobs at a time; null = the account's quota on SageMaker, one on this machine and with
    `cluster.backend=loopback`."""
    retries: int = 2
    """New starts of a job that ended through a fault of AWS or for want of capacity."""
    max_failures: int = 3
    """Failed jobs after which no further ones are started; those that run go on."""
    retry: Retry = Retry.none
    """failed = start the failed jobs again, and only these; stopped = those that their owner or a limit has
    stopped. `retry=failed` for short."""
    code: SweepCode = SweepCode.pinned
    """pinned = the code of the sweep's first submit for all its jobs; new = the code as it is now for those
    that have not started; `code=new` for short."""


class RehearsalModel(Enum):
    """Model of a rehearsal: the job's own, or a tiny one from scratch."""

    same = "same"
    tiny = "tiny"


class RehearsalLane(Enum):
    """Libraries of a rehearsal: those of this machine, or the versions in the job's image."""

    here = "here"
    image = "image"


@dataclass
class RehearsalConfig:
    """Extent of a rehearsal (`action=rehearse`). Everything else is exactly as it would be sent."""

    ranks: int = 2
    """CPU processes per node, in place of its GPUs."""
    steps: Optional[int] = 6
    """Updates, with a checkpoint after every third of them; null = all of the job's (loopback only)."""
    rows: Optional[int] = 40
    """Rows per split, spread over languages and classes; null = all of them."""
    model: RehearsalModel = RehearsalModel.same
    """same = the job's model; tiny = a small one from scratch, which is faster."""
    lane: RehearsalLane = RehearsalLane.here
    """here = this machine's libraries; image = those of the job's image (set up once, in a few minutes)."""
    full: list[str] = field(default_factory=list)
    """Instance types without capacity: a job with cluster.fallback gets the first that is not full."""
    keep: Optional[str] = None
    """New folder for the containers' input and output; null = they are discarded."""


@dataclass
class LaunchClusterConfig(ClusterConfig):
    """The machines and their backend; the job is the same on either backend."""

    instance_type: Optional[str] = MISSING
    """SageMaker instance type, e.g. ml.p3.16xlarge; null = this machine. Set by the group file."""
    gpus_per_node: Optional[int] = None  # type: ignore[assignment]
    """GPUs used per node, one process each; null = all GPUs of the instance, none on this machine. A
    composed job holds the number."""
    distribution: Optional[Distribution] = None  # type: ignore[assignment]
    """SageMaker's way of starting the processes; null = torch_distributed, or none for a single GPU."""
    backend: Backend = field(default=Backend.aws, metadata=IN_LAUNCH)
    """launch.py: backend of a submitted job. loopback = a local server that behaves like SageMaker."""


@dataclass
class LaunchDataConfig(DataConfig):
    """The reviews and the location of their prepared form; the same job trains on either."""

    split_seed: Optional[int] = field(default=42, metadata=WHERE_USED)
    """Seed by which rows of `path` are drawn for validation and test: 42 whatever the job's `seed`, so that
    runs of several seeds are scored on the same rows. null = the job's `seed`, as in job files that do not
    name it."""

    prepared: Optional[str] = None
    """Folder or s3:// prefix of data prepared with these settings; null = prepared on demand."""


@dataclass
class LaunchConfig(JobConfig):
    """The config that Hydra composes: the job plus the settings that only the laptop needs."""

    data: LaunchDataConfig = field(default_factory=LaunchDataConfig)
    """The reviews."""
    cluster: LaunchClusterConfig = field(default_factory=LaunchClusterConfig)
    """The machines."""

    action: Action = field(default=Action.plan, metadata=IN_LAUNCH)
    """launch.py: plan shows the job, check asks AWS too, rehearse runs it locally, submit starts it."""
    output: Output = field(default=Output.page, metadata=IN_LAUNCH)
    """launch.py: a page, everything as JSON, or only the CreateTrainingJob request as JSON."""
    attempt: int = field(default=1, metadata=IN_LAUNCH)
    """launch.py: increase it to submit the same job and code again."""
    wait: Optional[bool] = field(default=None, metadata=IN_LAUNCH)
    """launch.py: stay with submitted jobs until they have ended, as --follow; false = leave, as --detach;
    null = stay with one job on a terminal, with a sweep while jobs wait for a slot."""
    job_file: Optional[str] = field(default=None, metadata=IN_LAUNCH)
    """launch.py: path to which the job file is written as well."""
    aws: AwsConfig = field(default_factory=AwsConfig, metadata=IN_LAUNCH)
    """launch.py: AWS account."""
    budget: BudgetConfig = field(default_factory=BudgetConfig, metadata=IN_LAUNCH)
    """launch.py: cost limit and price sources."""
    deploy: DeployConfig = field(default_factory=DeployConfig, metadata=IN_LAUNCH)
    """lingotune deploy: serving of a trained model."""
    sweep: SweepConfig = field(default_factory=SweepConfig)
    """Sweeps: many jobs of one command."""
    rehearsal: RehearsalConfig = field(default_factory=RehearsalConfig, metadata=IN_LAUNCH)
    """launch.py: extent of action=rehearse."""
    prepared_dir: str = "prepared"
    """Folder of prepared data, with one subfolder per digest."""
    runs_dir: str = "runs"
    """Folder of run folders and of throughput.jsonl, the source of the plan's times."""
    runs_mode: RunsMode = RunsMode.private
    """Who may read run folders, prepared data and caches: private = you (0600, folders 0700), or what your
    own umask says if it is neither 022 nor 002; group = your group too; everyone = all on this machine."""
