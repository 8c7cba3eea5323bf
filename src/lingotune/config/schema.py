"""What a job is: every setting, its type, its meaning and its default. Standard library only.

Each dataclass is a section of the config; the string under a field documents it. Enums hold closed
sets of choices. This is the only place with defaults: the YAML files under conf/ hold choices.
`JobConfig` is what travels to the workers; `LaunchConfig` adds what only the laptop needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

# OmegaConf reads these annotations at run time; on Python 3.10 it knows Optional[X], not X | None.
# ruff: noqa: UP045

MISSING = "???"
"""OmegaConf's mark for a value that a group file or the user has to give."""
NO_LANGUAGE = "und"
"""Language of rows whose source names none: ISO 639's code for undetermined."""
PATTERN_LANGUAGE = "{language}"
"""Key under which a reader puts the language that stood in the pattern, not in a column."""
Texts = Any
"""Type of settings that are a text, a list of texts, or null: OmegaConf knows no such union."""
HUB_PREFIX = "hf://"
"""Start of a pattern, or of a location, that names files of a hub repository."""
AUTO = "auto"
"""In place of an encoding, or of classes: what the source is found to have."""
DETECT = "detect"
"""In place of a language column: the language of each text is detected."""
SPLITS = ("train", "validation", "test")
"""What every job has."""
ALL = "all"
"""In place of a split: one source, out of which all three are carved."""
ON_SAGEMAKER = {"where": "sagemaker"}
"""Metadata of settings that only a training job on SageMaker has."""
IN_LAUNCH = {"where": "launch"}
"""Metadata of settings that only launch.py reads."""

BY_MODEL = {"default": "what suits the model"}
"""Metadata of settings whose default is that of the model's kind, which composing fills in."""
WHERE_USED = {"written": "where used"}
"""Metadata of sections that a job file has only where they differ from their defaults: the digests of other
jobs stay as they were before there was such a section."""


def since_torch(version: tuple[int, int], why: str) -> dict[str, Any]:
    """Mark a switch that works from this version of PyTorch on, for the reason given."""
    return {"torch": version, "why": why}


class Source(Enum):
    """Where the reviews come from."""

    sample = "sample"
    files = "files"
    hub = "hub"


class ScalingRule(Enum):
    """How the learning rate and the batch follow the number of processes."""

    none = "none"
    linear = "linear"
    sqrt = "sqrt"
    fixed_global = "fixed_global"


class Distribution(Enum):
    """How SageMaker starts one process per GPU; the names are the SDK's. none = one process."""

    none = "none"
    torch_distributed = "torch_distributed"
    smdistributed = "smdistributed"


class Lane(Enum):
    """How the training image is chosen."""

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
    constant_with_warmup = "constant_with_warmup"


class EvalStrategy(Enum):
    """When the validation split is scored during training."""

    none = "none"
    epoch = "epoch"
    steps = "steps"


class SelectMetric(Enum):
    """The validation metric that chooses the best checkpoint."""

    macro_f1 = "macro_f1"
    worst_language_macro_f1 = "worst_language_macro_f1"
    accuracy = "accuracy"
    loss = "loss"


class Visibility(Enum):
    """Whether and how the model is published on the Hugging Face Hub."""

    none = "none"
    private = "private"
    public = "public"


class Tracker(Enum):
    """Who is told of a run's course beside TensorBoard; the names are those of the Trainer's report_to."""

    mlflow = "mlflow"
    wandb = "wandb"
    trackio = "trackio"


class Action(Enum):
    """What launch.py does with the job."""

    plan = "plan"
    check = "check"
    rehearse = "rehearse"
    submit = "submit"


class Backend(Enum):
    """Where a submitted job runs: on SageMaker, or on a SageMaker that is made on this machine."""

    aws = "aws"
    loopback = "loopback"


class Output(Enum):
    """What launch.py prints: a page to read, everything as JSON, or the bare request as JSON."""

    page = "page"
    json = "json"
    request = "request"


class InputMode(Enum):
    """How SageMaker brings the data channel to the machine; the names are SageMaker's."""

    File = "File"
    FastFile = "FastFile"


class Sdk(Enum):
    """What starts the job: SageMaker Python SDK v2 (HuggingFace) or v3 (ModelTrainer), or boto3."""

    v2 = "v2"
    v3 = "v3"
    boto3 = "boto3"


class Balance(Enum):
    """What is done about classes that are rarer than others."""

    none = "none"
    weights = "weights"
    resample = "resample"


BatchMode = Enum(
    "BatchMode",
    {"random": "random", "iid_balanced": "iid_balanced", "window": "window", "global": "global"},
)
"""Which texts make up an update, see `BatchingConfig.mode`. No class: `global` is a word of Python's."""


class Quoting(Enum):
    """What a double quote is in CSV and TSV."""

    auto = "auto"
    standard = "standard"
    none = "none"


class Separator(Enum):
    """What stands between the fields of CSV and TSV."""

    auto = "auto"
    comma = "comma"
    semicolon = "semicolon"
    tab = "tab"
    pipe = "pipe"


class OnError(Enum):
    """What to do with a row that cannot be used."""

    stop = "stop"
    skip = "skip"


@dataclass
class LabelConfig:
    """One class of the classifier; its place in the list is its id."""

    name: str = MISSING
    """Human name, as predictions print it."""
    values: list[str] = field(default_factory=list)
    """Raw values that mean this class, e.g. stars [1, 2]. The name itself always counts. true and false
    match in every spelling, 1 and 0 included; classes stored by number match by name and by number."""


@dataclass
class ColumnsConfig:
    """Column names of the source; null = the source has no such column."""

    text: str = "review_body"
    """The text to classify."""
    title: Optional[str] = None
    """Put before the text, on a line of its own, when named. In star reviews it gives the star away."""
    stars: Optional[str] = None
    """Star rating, mapped by `data.labels`. Exactly one of stars and label is in the source."""
    label: Optional[str] = None
    """Class name or raw value, mapped by `data.labels`."""
    language: Optional[str] = None
    """Language of a row, kept up to the per-language scores; detect = of each text, by py3langid."""
    id: Optional[str] = None
    """Row id, for messages."""
    group: Optional[str] = None
    """Rows with the same value here stay in one split, e.g. those of a product, or of a reviewer."""


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
    """Same seed and sizes, same bytes. Apart from the job's seed, so that seeds can be compared."""


@dataclass
class RowCounts:
    """Rows of each language; null = not known before the data is read."""

    train: Optional[int] = None
    """Of the training split."""
    validation: Optional[int] = None
    """Of the validation split."""
    test: Optional[int] = None
    """Of the test split."""


@dataclass
class DataConfig:
    """Reviews, their columns, labels and splits."""

    name: str = MISSING
    """Short name, part of the run's name."""
    source: Source = MISSING  # type: ignore[assignment]
    """sample | files | hub; set by the group file."""
    path: Texts = None
    """source=files: a file, a glob or a folder, or a list of them; split by the shares below. Files on the
    hub (hf://datasets/OWNER/NAME/train.jsonl) make it source=hub.

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
    """Take the files of `path` for one source although their names say that they are different splits."""
    encoding: str = AUTO
    """Encoding of text files, e.g. cp1252, utf-16; auto = found out from each file, and told."""
    separator: Separator = Separator.auto
    """What stands between the fields of CSV and TSV; auto = what splits header and rows alike."""
    quoting: Quoting = Quoting.auto
    """Double quotes in CSV and TSV. standard: they hold together texts with separators and line ends.
    none: they are characters like others. auto: standard, but rows that quotes seem to melt together are
    told, and TSV whose quotes do not balance is read as none."""
    sheet: Optional[str] = None
    """Sheet of spreadsheets; null = the only one that has rows."""
    languages: list[str] = field(default_factory=list)
    """Languages to keep; empty = all. Spellings are brought to BCP 47: en takes in en-US and English."""
    language_map: dict[str, str] = field(default_factory=dict)
    """What is written in the source -> language code, where it is not plain or not to be joined, e.g.
    {pt-BR: pt-BR, simple: en}."""
    default_language: Optional[str] = None
    """Language of rows that name none; null = such rows are errors, if a column is named."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    """Column names of the source."""
    labels: list[LabelConfig] = field(default_factory=list)
    """The classes in the order of their ids. A list given on the command line replaces the whole; [a, b]
    is short for classes without further values. auto = the values of the label column, sorted, if they
    are at most 100; the source is read for them, and the job file lists them."""
    label_offset: int = 0
    """Added to a whole-number raw value before the mapping: 1 where labels 0-4 mean stars 1-5."""
    rows: RowCounts = field(default_factory=RowCounts)
    """source=hub: the known sizes, for the plan; compared when the data is read."""
    max_length: int = 128
    """Tokens kept of a text, special tokens included; longer texts are cut at the end."""
    validation_share: float = 0.1
    """Share of `path`'s rows for validation, taken per language and class with the job's seed."""
    test_share: float = 0.1
    """Share of `path`'s rows for the test."""
    unique_texts: bool = True
    """Leave out of train what stands in validation or test too, and of validation what is in test."""
    normalize: bool = True
    """Texts in Unicode's composed form (NFC), so that one spelling has one form."""
    on_error: OnError = OnError.stop
    """What to do with a row that cannot be used: stop, or skip it and keep it in rejected.jsonl."""
    max_rejected: float = 0.01
    """on_error=skip: the share of rows that may be rejected; more stop the run."""
    language_alpha: Optional[float] = None
    """Languages are drawn in proportion to their rows to this power: 1 = as they are, 0 = all alike.
    null = 1."""
    balance: Balance = Balance.none
    """Rarer classes: weights = count more in the loss; resample = are drawn more often, within each
    language; none = as they are."""
    sample: SampleConfig = field(default_factory=SampleConfig)
    """Sizes of the generated sample."""

    def __post_init__(self) -> None:
        """Make texts of names of files that look like numbers, and a hub source of files that lie there."""
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
    """A DistilBERT made from scratch with a WordPiece vocabulary of the training texts."""

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
    """Word pieces at most, special tokens included."""


@dataclass
class ModelConfig:
    """The encoder to fine-tune: pretrained, or made from scratch."""

    name: str = MISSING
    """Short name, part of the run's name."""
    name_or_path: Optional[str] = MISSING
    """Hub id or folder of a pretrained model, or on SageMaker its s3:// prefix; null = made from
    `scratch`. A folder is uploaded for a job on SageMaker."""
    revision: Optional[str] = None
    """Commit, tag or branch of the hub model; null = its main branch."""
    scratch: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    """The architecture when there is no pretrained model."""


@dataclass
class ImageConfig:
    """The Hugging Face training image on SageMaker."""

    lane: Lane = Lane.auto
    """auto = the newest image that fits GPU and distribution; pinned = the versions below."""
    transformers: Optional[str] = None
    """Version of the pinned image, as the SDK lists it."""
    pytorch: Optional[str] = None
    """Version of the pinned image, as the SDK lists it."""
    python: Optional[str] = None
    """Python tag of the pinned image, e.g. py310."""
    uri: Optional[str] = None
    """lane=pinned: an image of your own in ECR, made from one of these; nothing in it is checked."""


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
    """GPUs used on a node, one process each; 0 = CPU."""
    processes: int = 1
    """Processes on a node without GPUs."""
    threads: Optional[int] = None
    """CPU threads of one process; null = torch's own choice."""
    distribution: Distribution = Distribution.torch_distributed
    """How SageMaker starts the processes."""
    image: ImageConfig = field(default_factory=ImageConfig)
    """The training image."""
    max_run: int = field(default=14400, metadata=ON_SAGEMAKER)
    """Seconds after which SageMaker stops the job: the most that it can bill, per node."""
    spot: bool = field(default=False, metadata=ON_SAGEMAKER)
    """Use spare capacity at a lower price; AWS may interrupt the job."""
    max_wait: Optional[int] = field(default=None, metadata=ON_SAGEMAKER)
    """spot: seconds of waiting and running together; null = twice `max_run`."""
    keep_alive: Optional[int] = field(default=None, metadata=ON_SAGEMAKER)
    """Seconds to keep the machines for the next job (a warm pool). They are billed."""
    retries: Optional[int] = field(default=None, metadata=ON_SAGEMAKER)
    """Starts anew after a fault of AWS's machines, this many times; null = none."""
    volume_gb: Optional[int] = field(default=None, metadata=ON_SAGEMAKER)
    """GB of the storage volume; null = SageMaker's 30. Instances with NVMe disks have no volume."""
    input_mode: InputMode = field(default=InputMode.File, metadata=ON_SAGEMAKER)
    """File = the data is copied before the start; FastFile = it is streamed when read."""
    checkpoints: bool = field(default=True, metadata=ON_SAGEMAKER)
    """Copy checkpoints to S3 while training."""
    tensorboard: bool = field(default=False, metadata=ON_SAGEMAKER)
    """Copy TensorBoard's curves to S3 while training; they are in the output in any case."""
    compress_output: bool = field(default=True, metadata=ON_SAGEMAKER)
    """The model as one model.tar.gz; false = as single files."""
    environment: dict[str, str] = field(default_factory=dict, metadata=ON_SAGEMAKER)
    """Variables for the worker. Everybody who may describe the job can read them: no secrets."""
    training_plan: Optional[str] = field(default=None, metadata=ON_SAGEMAKER)
    """ARN of a SageMaker training plan that holds reserved capacity."""
    ultra_server: Optional[str] = field(default=None, metadata=ON_SAGEMAKER)
    """Id of the UltraServer to place the instances on."""
    remote_debug: bool = field(default=False, metadata=ON_SAGEMAKER)
    """Allow a shell in the running container through AWS Systems Manager."""
    profiler: bool = field(default=False, metadata=ON_SAGEMAKER)
    """SageMaker's profiler; it runs processing jobs of its own."""


@dataclass
class ScalingConfig:
    """How learning rate and batch follow the cluster."""

    rule: ScalingRule = ScalingRule.none
    """none: lr as typed. linear, sqrt: lr x (global batch / base_batch), or its root.
    fixed_global: the global batch is declared and the accumulation derived."""
    base_batch: Optional[int] = None
    """linear, sqrt: the global batch that `lr` was chosen for."""
    global_batch: Optional[int] = None
    """fixed_global: examples of one update, over all processes."""
    accumulation: Optional[int] = None
    """Backward passes of one update; null = 1. Derived by fixed_global."""


@dataclass
class BatchingConfig:
    """Which texts make up an update, and which part of it each process takes."""

    mode: BatchMode = BatchMode.window
    """random: drawn at random, in parts of `per_device_bs`. iid_balanced: the same draws, the parts
    of each update made equally costly. window: texts of about the same length, found within windows of
    the random order. global: within the whole epoch."""
    window: Optional[int] = None
    """mode=window: global batches of a window; null = as many as hold 16384 rows, at least 64. Fewer
    are more random, and slower."""
    padding_free: bool = field(
        default=False,
        metadata=since_torch((2, 5), "PyTorch has attention over texts without padding since 2.5"),
    )
    """Leave padding out: tokens of a part's texts lie one after the other, and attention takes the texts
    apart. The same result; pays on GPUs where texts of different lengths meet, as in mode=iid_balanced."""
    pad_to_multiple_of: Optional[int] = None
    """Widths of batches are rounded up to a multiple of this, but not beyond the longest text; null = 8 on
    GPUs, 16 with training.compile, 1 on CPUs."""
    longest_first: bool = False
    """Begin each epoch with the update that takes most memory: what does not fit fails at once."""


@dataclass
class TrainingConfig:
    """The optimisation, in transformers' terms."""

    max_steps: Optional[int] = None
    """Updates in all, in place of `epochs`; null = from epochs."""
    warmup_ratio: float = 0.1
    """Share of all updates during which the learning rate rises from 0."""
    warmup_steps: Optional[int] = None
    """Updates of the warm-up, in place of `warmup_ratio`."""
    schedule: Schedule = Schedule.linear
    """Learning rate after the warm-up."""
    weight_decay: float = 0.0
    """AdamW's decay, not applied to biases and layer norms."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    label_smoothing: float = 0.0
    """Share of each training target that is spread evenly over all classes; 0 = none."""
    layer_decay: float = 1.0
    """Learning rate of a layer as a share of that of the layer above it, from the classifier (`lr`) down
    to the embeddings; 1 = all alike."""
    compact_vocabulary: Optional[bool] = None
    """Train only the rows of the word embeddings that the data uses: the same weights come of it, at less
    memory and traffic, and every checkpoint has all rows. null = where that is exact: without weight
    decay, which changes unused rows too."""
    first_token_only: Optional[bool] = None
    """Compute the last layer for the first token alone, which is what the classifier reads: the same
    result but for rounding, at less work. null = where the model is of a kind that allows it."""
    compile: bool = field(
        default=False,
        metadata=since_torch((2, 1), "PyTorch makes a program for each width since 2.1"),
    )
    """Let torch.compile fuse the model's operations, on GPUs as CUDA graphs, one for each width of a batch:
    pays where batches are so small that the host cannot keep up. The first updates take minutes."""
    freeze_embeddings: bool = False
    """Leave the word embeddings as they are; faster, and another result."""
    sparse_exchange: bool = field(
        default=False,
        metadata=since_torch((2, 1), "PyTorch tells when a gradient is finished since 2.1"),
    )
    """Send only those rows of the word embeddings' gradient that an update has touched: less traffic; sums
    may differ in their last digit."""
    compress_gradients: bool = False
    """Send gradients between GPUs in the half precision that is trained in: half the traffic, and
    rounded. CPUs send them whole."""
    shard: bool = False
    """Cut weights, gradients and the optimizer's state into as many pieces as there are processes, each
    holding one (FSDP2): for models of which these do not fit one GPU. About half as much again is sent;
    whole models are saved."""
    precision: Precision = Precision.auto
    """auto: fp16 on V100 and T4, bf16 on newer GPUs, and on CPUs that compute in it, else fp32."""
    eval_strategy: EvalStrategy = EvalStrategy.epoch
    """When to score the validation split; none = only at the end, keeping the last weights."""
    eval_steps: Optional[int] = None
    """eval_strategy=steps: updates between two evaluations."""
    save_steps: Optional[int] = None
    """Updates between two checkpoints; null = only at evaluations, or at the end of an epoch."""
    keep_checkpoints: int = 2
    """Checkpoints kept on disk: the newest, and the best where it is none of them."""
    logging_steps: int = 10
    """Updates between two log lines."""
    report_to: list[Tracker] = field(default_factory=list)
    """Trackers beside TensorBoard: mlflow, wandb, trackio. Their own variables say where they are."""


@dataclass
class EvaluationConfig:
    """How checkpoints and the final model are scored."""

    select: SelectMetric = SelectMetric.macro_f1
    """The validation metric whose best checkpoint becomes the model."""
    per_device_bs: Optional[int] = None
    """Examples per process and evaluation step; null = twice the job's `per_device_bs`."""
    resamples: int = 1000
    """Bootstrap samples behind the 95 % intervals of the final scores; 0 = no intervals."""


@dataclass
class HubConfig:
    """Publishing on the Hugging Face Hub. There is no field for a token: it comes by reference."""

    visibility: Visibility = Visibility.none
    """none = do not publish."""
    repo: Optional[str] = None
    """Repository, `owner/name` or `name`; null = the run's name and six digits of its job's digest."""
    token_secret: Optional[str] = None
    """Name or ARN of the AWS secret that holds the token (or ARN of an SSM parameter), read by the job's
    role; a private model or data set of the hub is read with it, too. null = the HF_TOKEN variable or the
    hub's own token file on the machine that trains."""
    license: Optional[str] = None
    """Licence of the published model, as the hub names it, e.g. apache-2.0; null = that of the base
    model, where its card names one."""
    timeout: int = 3600
    """Seconds that the last push may take; what is not published then can be with `publish RUN`."""


@dataclass
class CodeConfig:
    """Own code without a fork: metrics, a model builder and Trainer callbacks, by name."""

    file: Optional[str] = None
    """Python file that defines them, which travels with the job. Typed: relative to the current folder; in
    a group file: to the folder of your group files. null = installed packages alone."""
    metrics: list[str] = field(default_factory=list)
    """Names of metrics to compute beside the others: functions marked with @metric."""
    select: Optional[str] = None
    """The one of `metrics` whose best checkpoint becomes the model, in place of `evaluation.select`."""
    builder: Optional[str] = None
    """Name of the function, marked with @model_builder, that makes the classifier; null = the stock one."""
    callbacks: list[str] = field(default_factory=list)
    """Names of Trainer callbacks, marked with @callback, in the order in which they are called."""
    requirements: list[str] = field(default_factory=list)
    """What pip installs for them on a worker, e.g. ['scikit-learn==1.5.0']. Packages whose entry points are
    named above are added when the job is composed, in the version that is installed."""
    sha256: Optional[str] = None
    """Digest of `file`, filled in when the job is composed; a file with another one is refused."""


@dataclass
class JobConfig:
    """One training job: all that a worker needs, the same on every worker."""

    name: str = MISSING
    """Run name: letters, digits and hyphens."""
    seed: int = 42
    """Seed of initialisation, order, dropout and splits."""
    lr: float = field(default=MISSING, metadata=BY_MODEL)  # type: ignore[assignment]
    """Learning rate as typed; `scaling` may derive another from it. By default 1e-3 from scratch; 5e-5,
    3e-5 or 1e-5 for a small, a base or a large pretrained model."""
    per_device_bs: int = field(default=MISSING, metadata=BY_MODEL)  # type: ignore[assignment]
    """Examples of one process (one GPU) in one forward and backward pass. By default 32 from scratch, 16
    for a pretrained model, 8 for a large one."""
    epochs: int = field(default=MISSING, metadata=BY_MODEL)  # type: ignore[assignment]
    """Passes over the training split. By default 5 from scratch, 3 for a pretrained model."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The encoder."""
    data: DataConfig = field(default_factory=DataConfig)
    """The reviews."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """The machines."""
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    """Batch and learning-rate scaling."""
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    """Padding and waiting."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The optimisation."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """The scores."""
    hub: HubConfig = field(default_factory=HubConfig)
    """Publishing."""
    code: CodeConfig = field(default_factory=CodeConfig, metadata=WHERE_USED)
    """Own metrics, model builder and callbacks."""


def selected_by(job: JobConfig) -> str:
    """Name the validation metric that chooses the best checkpoint."""
    return job.code.select or job.evaluation.select.value


@dataclass
class AwsConfig:
    """Where launch.py submits to. Not part of the job: the same job may run in any account."""

    region: Optional[str] = None
    """AWS region; null = the AWS configuration of this machine."""
    role: Optional[str] = None
    """ARN of the IAM role that the job runs under."""
    bucket: Optional[str] = None
    """S3 bucket for code, config, data and output."""
    prefix: str = "lingotune"
    """Key prefix in the bucket."""
    sdk: Sdk = Sdk.v2
    """v2 | v3 | boto3: the library that starts the job. v2 ends in July 2027."""
    kms_key: Optional[str] = None
    """KMS key that encrypts what is uploaded, and the output; null = the bucket's own encryption."""
    volume_kms_key: Optional[str] = None
    """KMS key of the storage volume; instances with NVMe disks encrypt in hardware."""
    subnets: list[str] = field(default_factory=list)
    """Subnets of the VPC that the machines join; empty = SageMaker's own network."""
    security_groups: list[str] = field(default_factory=list)
    """Security groups in that VPC."""
    encrypt_traffic: bool = False
    """Encrypt what nodes send each other; slower."""
    network_isolation: bool = False
    """No network for the container: needs an image of your own (`cluster.image.uri`)."""
    tags: dict[str, str] = field(default_factory=dict)
    """Tags of the training job, beside lingotune's own three, and of what is uploaded for it."""
    queue: Optional[str] = None
    """AWS Batch queue for SageMaker training jobs; null = start at once."""
    queue_share: Optional[str] = None
    """Share identifier of a fair-share queue."""
    queue_priority: Optional[int] = None
    """Priority in the queue, 0 to 9999."""


@dataclass
class BudgetConfig:
    """What the job may cost, and what the plan's figures come from."""

    max_usd: Optional[float] = None
    """Refuse a job or a sweep whose worst case costs more."""
    usd_per_hour: Optional[float] = None
    """On-demand price of one instance, in place of the price list."""
    prices: Optional[str] = None
    """A price list of your own: `python -m lingotune prices --region R > prices.json` fetches one."""


class RehearsalModel(Enum):
    """The model that a rehearsal trains: the job's own, or a tiny one made from scratch."""

    same = "same"
    tiny = "tiny"


class RehearsalLane(Enum):
    """The libraries of a rehearsal: this machine's, or the versions of the job's image."""

    here = "here"
    image = "image"


@dataclass
class RehearsalConfig:
    """How much of the job `action=rehearse` runs here. Everything else is as it would be sent."""

    ranks: int = 2
    """CPU processes of each node, in place of its GPUs."""
    steps: int = 6
    """Updates; a checkpoint after each third of them."""
    rows: int = 40
    """Rows of each split, spread over languages and classes."""
    model: RehearsalModel = RehearsalModel.same
    """same = the job's model; tiny = a small one from scratch, for speed."""
    lane: RehearsalLane = RehearsalLane.here
    """here = this machine's libraries; image = those of the job's image (made once, some minutes)."""
    keep: Optional[str] = None
    """New folder for what the containers were given and left; null = nothing is kept."""


@dataclass
class LaunchClusterConfig(ClusterConfig):
    """The machines, and who lends them: the job is the same in either place."""

    instance_type: Optional[str] = MISSING
    """SageMaker instance type, e.g. ml.p3.16xlarge; null = this machine. The group file says which."""
    gpus_per_node: Optional[int] = None  # type: ignore[assignment]
    """GPUs used on a node, one process each; null = all of the instance's, on this machine none.
    A composed job has the number."""
    distribution: Optional[Distribution] = None  # type: ignore[assignment]
    """How SageMaker starts the processes; null = torch_distributed, or none for one GPU alone."""
    backend: Backend = field(default=Backend.aws, metadata=IN_LAUNCH)
    """launch.py: where a submitted job runs. loopback is a SageMaker made on this machine for it."""


@dataclass
class LaunchDataConfig(DataConfig):
    """The reviews, and where they lie prepared: the same job trains on them in either place."""

    prepared: Optional[str] = None
    """Folder or s3:// prefix of data prepared with these settings; null = prepared when it is needed."""


@dataclass
class LaunchConfig(JobConfig):
    """What Hydra composes: the job, and what only the laptop needs."""

    data: LaunchDataConfig = field(default_factory=LaunchDataConfig)
    """The reviews."""
    cluster: LaunchClusterConfig = field(default_factory=LaunchClusterConfig)
    """The machines."""

    action: Action = field(default=Action.plan, metadata=IN_LAUNCH)
    """launch.py: plan shows, check asks AWS too, rehearse runs the job here, submit starts it."""
    output: Output = field(default=Output.page, metadata=IN_LAUNCH)
    """launch.py: a page, all as JSON, or the bare CreateTrainingJob request as JSON."""
    attempt: int = field(default=1, metadata=IN_LAUNCH)
    """launch.py: raise it to submit the very same job and code once more."""
    job_file: Optional[str] = field(default=None, metadata=IN_LAUNCH)
    """launch.py: also write the job file to this path."""
    aws: AwsConfig = field(default_factory=AwsConfig, metadata=IN_LAUNCH)
    """launch.py: the account's names."""
    budget: BudgetConfig = field(default_factory=BudgetConfig, metadata=IN_LAUNCH)
    """launch.py: limits and sources of time and money."""
    rehearsal: RehearsalConfig = field(default_factory=RehearsalConfig, metadata=IN_LAUNCH)
    """launch.py: what action=rehearse runs."""
    prepared_dir: str = "prepared"
    """Folder of prepared data, one folder in it for each digest."""
    runs_dir: str = "runs"
    """Folder of the run folders and of throughput.jsonl, which the plan's times come from."""
