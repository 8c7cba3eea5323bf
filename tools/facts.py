"""Make the data files under src/lingotune/*/facts/ anew from what the installed libraries know.

    make facts

Images and registries come from both SageMaker SDKs (v3's table is read from its own environment, as they
cannot be installed together), instances from its list and from moto's copy of
EC2's DescribeInstanceTypes, the shape of a request and the partitions of AWS from botocore. Tests compare
the files with these sources, so that an upgrade that changes a fact shows.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "lingotune"
OLDEST_TRANSFORMERS = (4, 12)  # the article's

CAPABILITY = {
    "V100": [7, 0], "T4": [7, 5], "A100": [8, 0], "A10G": [8, 6], "L4": [8, 9], "L40S": [8, 9],
    "H100": [9, 0], "H200": [9, 0], "B200": [10, 0], "B300": [10, 3],
    "RTX PRO 4500": [12, 0], "RTX PRO Server 6000": [12, 0], None: None,
}  # fmt: skip
"""CUDA compute capability of each GPU, from NVIDIA's table; without a GPU there is none."""
NO_GPU = {"Count": 0, "Name": None, "MemoryInfo": {"SizeInMiB": 0}}

GONE_FROM_EC2 = {
    "ml.p3.2xlarge": (8, 61),
    "ml.p3.8xlarge": (32, 244),
    "ml.p3.16xlarge": (64, 488),
}
"""vCPUs and GiB of the p3 sizes, which EC2 no longer describes; from AWS's instance pages."""


def package_file(package: str, *parts: str) -> Path:
    """A file inside an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin
    return Path(spec.origin).parent.joinpath(*parts)


def instances() -> dict[str, Any]:
    """Every single-node x86 instance type of SageMaker's training, with known GPUs or none."""
    import botocore.session
    from sagemaker import fw_utils

    described = json.loads(
        gzip.decompress(
            package_file("moto", "ec2", "resources", "instance_types.json.gz").read_bytes()
        )
    )
    model = botocore.session.get_session().get_service_model("sagemaker")
    found = {}
    for name in model.shape_for("TrainingInstanceType").enum:
        row = _instance(described.get(name.removeprefix("ml."))) or _gone(name)
        if row is not None:
            found[name] = {
                **row,
                "smdistributed": name in fw_utils.SM_DATAPARALLEL_SUPPORTED_INSTANCE_TYPES,
                "sold": name not in GONE_FROM_EC2,
            }
    return dict(sorted(found.items(), key=_by_family))


def _by_family(item: tuple[str, Mapping[str, Any]]) -> tuple[Any, ...]:
    """Order instances by family, then size; those without GPUs come last."""
    name, row = item
    return row["gpus"] == 0, name.split(".")[1], row["gpus"], row["vcpus"], row["ram_gib"]


def _instance(described: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Select what EC2 says of an instance type; None if no image of ours runs on it."""
    if not described or "NeuronInfo" in described:
        return None
    if "x86_64" not in described["ProcessorInfo"]["SupportedArchitectures"]:
        return None
    (gpu,) = described.get("GpuInfo", {}).get("Gpus", [NO_GPU])
    if gpu["Name"] not in CAPABILITY:
        return None
    return {
        "gpus": gpu["Count"],
        "gpu": gpu["Name"],
        "gpu_gib": round(gpu["MemoryInfo"]["SizeInMiB"] / 1024, 1),
        "capability": CAPABILITY[gpu["Name"]],
        "vcpus": described["VCpuInfo"]["DefaultVCpus"],
        "ram_gib": described["MemoryInfo"]["SizeInMiB"] // 1024,
        "nvme_gb": described.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0),
        "efa": described["NetworkInfo"].get("EfaInfo", {}).get("MaximumEfaInterfaces", 0),
    }


def _gone(name: str) -> dict[str, Any] | None:
    """Describe an instance type that EC2 lists no more, by SageMaker's own table."""
    if name not in GONE_FROM_EC2:
        return None
    gpus = json.loads(
        package_file("sagemaker", "image_uri_config", "instance_gpu_info.json").read_text()
    )["us-east-1"]
    vcpus, ram = GONE_FROM_EC2[name]
    count, total = gpus[name]["Count"], gpus[name]["TotalGpuMemoryInMiB"]
    return {
        "gpus": count, "gpu": "V100", "gpu_gib": round(total / count / 1024, 1),
        "capability": CAPABILITY["V100"], "vcpus": vcpus, "ram_gib": ram, "nvme_gb": 0, "efa": 0,
    }  # fmt: skip


def images(newer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The Hugging Face training images of both SDKs, oldest first; newer: the versions that v3 lists."""
    from sagemaker import fw_utils

    smddp = fw_utils.SM_DATAPARALLEL_SUPPORTED_FRAMEWORK_VERSIONS["pytorch"]
    torchrun = fw_utils.TORCH_DISTRIBUTED_GPU_SUPPORTED_FRAMEWORK_VERSIONS
    older = _listed_images()
    rows = []
    for transformers, frameworks in {**newer, **older}.items():
        for framework, facts in frameworks.items():
            pytorch = framework.removeprefix("pytorch")
            container = facts["container_version"]["gpu"]
            cuda = container.split("-")[0].removeprefix("cu")
            tables = {"v2": older, "v3": newer}
            sdks = [
                name for name, table in tables.items() if framework in table.get(transformers, {})
            ]
            rows.append({
                "transformers": transformers,
                "pytorch": pytorch,
                "python": facts["py_versions"][0],
                "cuda": f"{cuda[:2]}.{cuda[2:]}",
                "container": container,
                "smdistributed": pytorch in smddp,
                # v2's list ends with v2; the toolkit inside all later images starts it.
                "torch_distributed": pytorch in torchrun or "v2" not in sdks,
                "sdks": sdks,
            })  # fmt: skip
    return sorted(rows, key=lambda row: _version(row["transformers"]))


def registries() -> dict[str, str]:
    """Region -> host of its image registry, for the regions of v2's newest image; v3's has the same."""
    from sagemaker import image_uris

    newest = images({})[-1]
    facts = _listed_images()[newest["transformers"]][f"pytorch{newest['pytorch']}"]
    hosts = {}
    for region in sorted(facts["registries"]):
        uri = image_uris.retrieve(
            "huggingface", region, version=newest["transformers"], py_version=newest["python"],
            instance_type="ml.p4d.24xlarge", image_scope="training",
            base_framework_version=f"pytorch{newest['pytorch']}",
            container_version=newest["container"],
        )  # fmt: skip
        hosts[region] = uri.split("/")[0]
    return hosts


def partitions() -> dict[str, Any]:
    """Partition of AWS -> the pattern of its regions' names, the regions, and the ends of its addresses."""
    table = json.loads(package_file("botocore", "data", "partitions.json").read_text())
    return {
        found["id"]: {
            "pattern": found["regionRegex"],
            "suffix": found["outputs"]["dnsSuffix"],
            "dual_stack_suffix": found["outputs"]["dualStackDnsSuffix"],
            "regions": [name for name in found["regions"] if not name.endswith("-global")],
        }
        for found in table["partitions"]
    }


OPERATIONS = (
    "CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint",
    "CreateTransformJob", "CreateModelPackage",
)  # fmt: skip
"""Operations whose requests are checked before they are sent."""


def request_shapes() -> dict[str, Any]:
    """Inputs of OPERATIONS and all shapes below them: types, bounds, patterns, enums, required."""
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    inputs = {name: model.operation_model(name).input_shape for name in OPERATIONS}
    shapes: dict[str, Any] = {}
    for shape in inputs.values():
        _collect(shape, shapes)
    roots = {name: shape.name for name, shape in inputs.items()}
    return {"roots": roots, "shapes": dict(sorted(shapes.items()))}


def _collect(shape: Any, shapes: dict[str, Any]) -> None:
    if shape.name in shapes:
        return
    facts: dict[str, Any] = {"type": shape.type_name}
    shapes[shape.name] = facts
    facts.update({k: shape.metadata[k] for k in ("min", "max", "pattern") if k in shape.metadata})
    if getattr(shape, "enum", None):
        facts["enum"] = list(shape.enum)
    below = []
    if shape.type_name == "structure":
        facts["members"] = {name: member.name for name, member in shape.members.items()}
        facts["required"] = list(shape.required_members)
        below = list(shape.members.values())
    elif shape.type_name == "list":
        facts["member"] = shape.member.name
        below = [shape.member]
    elif shape.type_name == "map":
        facts["key"], facts["value"] = shape.key.name, shape.value.name
        below = [shape.key, shape.value]
    for member in below:
        _collect(member, shapes)


def inference_images(newer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The Hugging Face inference images of both SDKs, oldest first; newer: the versions that v3 lists."""
    older = listed_in(v2_table(), "inference")
    rows = []
    for transformers, frameworks in {**newer, **older}.items():
        for framework, facts in frameworks.items():
            tables = {"v2": older, "v3": newer}
            rows.append({
                "transformers": transformers,
                "pytorch": framework.removeprefix("pytorch"),
                "python": facts["py_versions"][0],
                "containers": facts["container_version"],
                "sdks": [
                    name
                    for name, table in tables.items()
                    if framework in table.get(transformers, {})
                ],
            })  # fmt: skip
    return sorted(rows, key=lambda row: _version(row["transformers"]))


def v2_table() -> Path:
    """Return the file of the SDK v2 that lists images."""
    return package_file("sagemaker", "image_uri_config", "huggingface.json")


def _listed_images() -> dict[str, Any]:
    return listed_in(v2_table())


def listed_in(path: Path, use: str = "training") -> dict[str, Any]:
    """Version of transformers -> PyTorch -> facts of its image, as an SDK's file lists them.

    use: training or inference.
    """
    versions: dict[str, Any] = json.loads(path.read_text())[use]["versions"]
    return {
        name: {key: facts for key, facts in frameworks.items() if key.startswith("pytorch")}
        for name, frameworks in versions.items()
        if _version(name) >= OLDEST_TRANSFORMERS
    }


def v3_table() -> Path:
    """Return the file of the SDK v3, in the environment that `make test-v3` makes."""
    root = PACKAGE.parent.parent / ".venv-v3"
    (found,) = root.glob(
        "lib/python*/site-packages/sagemaker/core/image_uri_config/huggingface.json"
    )
    return found


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def files(newer: Mapping[str, Any], newer_inference: Mapping[str, Any]) -> dict[str, str]:
    """Path in the package -> content of each data file, as the installed libraries have it; newer,
    newer_inference: the training and inference images of the SDK v3."""
    os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"
    import botocore
    import sagemaker

    sdk = f"SageMaker SDK {sagemaker.__version__}"
    return {
        "catalog/facts/instances.json": _lines(
            f"{sdk} and EC2 DescribeInstanceTypes; p3: AWS instance pages", "instances", instances()
        ),
        "catalog/facts/images.json": _lines(
            f"{sdk}: image_uri_config/huggingface.json, fw_utils.py; SDK v3 (sagemaker-core):"
            " image_uri_config/huggingface.json", "images", images(newer),
            "registries", registries(),
        ),
        "launch/facts/inference_images.json": _lines(
            f"{sdk} and SDK v3 (sagemaker-core): image_uri_config/huggingface.json",
            "images", inference_images(newer_inference),
        ),
        "catalog/facts/partitions.json": _lines(
            f"botocore {botocore.__version__}: partitions.json", "partitions", partitions()
        ),
        "launch/facts/request.json": _lines(
            f"botocore {botocore.__version__}: service model of {', '.join(OPERATIONS)}",
            *(part for pair in request_shapes().items() for part in pair),
        ),
    }  # fmt: skip


def _lines(source: str, *named: Any) -> str:
    """A JSON object with one entry of each table a line, so that a change reads well in a diff."""
    parts = [f'  "sources": {json.dumps(source + " (made by tools/facts.py)")}']
    for name, table in zip(named[::2], named[1::2]):
        if isinstance(table, dict):
            rows = [f"    {json.dumps(key)}: {json.dumps(row)}" for key, row in table.items()]
            body = "{\n" + ",\n".join(rows) + "\n  }"
        elif isinstance(table, list):
            body = "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in table) + "\n  ]"
        else:
            body = json.dumps(table)
        parts.append(f'  "{name}": {body}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    """Write the data files."""
    found = files(listed_in(v3_table()), listed_in(v3_table(), "inference"))
    for name, content in found.items():
        (PACKAGE / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
