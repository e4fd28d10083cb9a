"""Every name that a configuration may use as shipped: Clara Train's, and MONAI's for the same."""

from __future__ import annotations

from typing import Final

from gateway.operators.base_inference import arguments as a
from gateway.operators.base_inference import inferers, loaders, spatial, transforms, writers
from gateway.operators.base_inference.arguments import Argument
from gateway.operators.base_inference.loading import LoadVolume
from gateway.operators.base_inference.registry import INFERER, LOADER, TRANSFORM, WRITER, Registry
from gateway.operators.base_inference.windows import CONSTANT, GAUSSIAN

_FIELDS: Final = Argument("fields", a.FIELDS)
_FIELD: Final = Argument("field", a.FIELDS, to="fields")
_KEYS: Final = Argument("keys", a.FIELDS, to="fields")
_LABEL: Final = Argument("is_label", a.BOOLEAN, False)
_INTERPOLATION: Final = a.Kind(
    "bilinear or nearest", lambda value: {"bilinear": False, "nearest": True}[_word(value)]
)
_MODE: Final = Argument("mode", _INTERPOLATION, False, to="is_label")
"""Its default is bilinear."""
_DTYPES: Final = a.optional(
    a.choice("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
)


def _word(value: object) -> str:
    if value not in ("bilinear", "nearest"):
        raise ValueError
    return str(value)


_RANGE: Final = (
    Argument("a_min", a.NUMBER),
    Argument("a_max", a.NUMBER),
    Argument("b_min", a.NUMBER, 0.0),
    Argument("b_max", a.NUMBER, 1.0),
    Argument("clip", a.BOOLEAN, False),
)
_SERVER: Final = (
    Argument("model_name", a.optional(a.TEXT), None),
    Argument("model_version", a.optional(a.TEXT), None),
    Argument("ip", a.TEXT, "localhost"),
    Argument("port", a.integer(1, 65535), 8000),
    Argument("protocol", a.choice("HTTP", "GRPC", upper=True), "HTTP"),
    Argument("timeout", a.number(0.1, 3600), 300.0),
    Argument("ready_seconds", a.number(0, 3600), 60.0),
    Argument("retry_seconds", a.number(0, 3600), 120.0),
)
_WINDOW: Final = (
    Argument("roi_size", a.optional(a.SIZE), None),
    Argument("batch_size", a.integer(1, 1024), 1),
    Argument("overlap", a.number(0, 0.9), 0.25),
    Argument("blend", a.choice(GAUSSIAN, CONSTANT), GAUSSIAN),
    Argument("pad_value", a.NUMBER, 0.0),
    Argument("is_channels_first", a.optional(a.BOOLEAN), None),
)


def default_registry() -> Registry:
    """Return a new registry with every shipped name."""
    registry = Registry()
    _add_loading(registry)
    _add_space(registry)
    _add_intensity(registry)
    _add_labels(registry)
    _add_way_back(registry)
    _add_model(registry)
    return registry


def _add_loading(registry: Registry) -> None:
    canonical = Argument("as_closest_canonical", a.BOOLEAN, False)
    registry.add(TRANSFORM, "LoadNifti", LoadVolume, (_FIELDS, canonical))
    registry.add(TRANSFORM, "LoadImaged", LoadVolume, (_KEYS, canonical))
    for name in ("ConvertToChannelsFirst", "AddChannel"):
        registry.add(TRANSFORM, name, spatial.ChannelsFirst, (_FIELDS,))
    for name in ("EnsureChannelFirstd", "AddChanneld"):
        registry.add(TRANSFORM, name, spatial.ChannelsFirst, (_KEYS,))


def _add_space(registry: Registry) -> None:
    resolution = Argument("target_resolution", a.SPACING, to="spacing")
    pixdim = Argument("pixdim", a.SPACING, to="spacing")
    registry.add(TRANSFORM, "ScaleByResolution", spatial.Resolution, (_FIELDS, resolution, _LABEL))
    registry.add(TRANSFORM, "Spacingd", spatial.Resolution, (_KEYS, pixdim, _MODE))
    factor = Argument("factor", a.number(0.05, 20))
    registry.add(TRANSFORM, "ScaleByFactor", spatial.Factor, (_FIELDS, factor, _LABEL))
    shape = Argument("target_shape", a.SIZE, to="shape")
    size = Argument("spatial_size", a.SIZE, to="shape")
    registry.add(TRANSFORM, "ScaleToShape", spatial.Shape, (_FIELDS, shape, _LABEL))
    registry.add(TRANSFORM, "Resized", spatial.Shape, (_KEYS, size, _MODE))
    axcodes = Argument("axcodes", a.AXCODES)
    registry.add(TRANSFORM, "Orientation", spatial.Orientation, (_FIELDS, axcodes))
    registry.add(TRANSFORM, "Orientationd", spatial.Orientation, (_KEYS, axcodes))
    level = Argument("threshold", a.NUMBER, 0.0)
    margin = Argument("margin", a.integer(0, 1000), 0)
    for name, fields, source in (
        ("CropForegroundObject", _FIELDS, "source_field"),
        ("CropForegroundd", _KEYS, "source_key"),
    ):
        from_field = Argument(source, a.optional(a.TEXT), None, to="source")
        registry.add(TRANSFORM, name, spatial.CropForeground, (fields, from_field, margin, level))


def _add_intensity(registry: Registry) -> None:
    scale = transforms.ScaleIntensityRange
    registry.add(TRANSFORM, "ScaleIntensityRange", scale, (_FIELDS, *_RANGE))
    registry.add(TRANSFORM, "ScaleIntensityRanged", scale, (_KEYS, *_RANGE))
    normalize = transforms.NormalizeIntensities
    always = Argument("nonzero", a.BOOLEAN, True)
    registry.add(TRANSFORM, "NormalizeNonzeroIntensities", normalize, (_FIELDS, always))
    nonzero = Argument("nonzero", a.BOOLEAN, False)
    registry.add(TRANSFORM, "NormalizeIntensityd", normalize, (_KEYS, nonzero))
    center = (
        Argument("subtrahend", a.optional(a.NUMBER), None),
        Argument("divisor", a.optional(a.NUMBER), None),
    )
    registry.add(TRANSFORM, "CenterData", transforms.CenterData, (_FIELDS, *center))


def _add_labels(registry: Registry) -> None:
    argmax = transforms.ArgmaxAcrossChannels
    registry.add(TRANSFORM, "ArgmaxAcrossChannels", argmax, (_FIELDS,))
    threshold = Argument("threshold", a.NUMBER, 0.5)
    registry.add(TRANSFORM, "ThresholdValues", transforms.ThresholdValues, (_FIELDS, threshold))
    discrete = (
        Argument("argmax", a.BOOLEAN, False),
        Argument("threshold", a.optional(a.NUMBER), None),
    )
    registry.add(TRANSFORM, "AsDiscreted", transforms.Discrete, (_KEYS, *discrete))
    activation = (Argument("sigmoid", a.BOOLEAN, False), Argument("softmax", a.BOOLEAN, False))
    registry.add(TRANSFORM, "Activationsd", transforms.Activation, (_KEYS, *activation))
    largest = transforms.KeepLargestComponent
    labels = Argument("applied_labels", a.LABELS, None, to="labels")
    independent = Argument("independent", a.BOOLEAN, True)
    registry.add(TRANSFORM, "KeepLargestCC", largest, (_FIELDS, labels, independent))
    registry.add(TRANSFORM, "KeepLargestConnectedComponentd", largest, (_KEYS, labels, independent))
    registry.add(TRANSFORM, "FetchExtraDims", transforms.Nothing, (_FIELDS,))


def _add_way_back(registry: Registry) -> None:
    source = Argument("src_field", a.optional(a.FIELDS), None, to="source")
    label = Argument("is_label", a.BOOLEAN, True)
    for name in ("RestoreOriginalShape", "Invert"):
        registry.add(TRANSFORM, name, spatial.Invert, (_FIELD, source, label))
    origin = Argument("orig_keys", a.optional(a.FIELDS), None, to="source")
    nearest = Argument("nearest_interp", a.BOOLEAN, True, to="is_label")
    registry.add(TRANSFORM, "Invertd", spatial.Invert, (_KEYS, origin, nearest))
    properties = (Argument("from_field", a.TEXT), Argument("properties", a.TEXTS))
    registry.add(TRANSFORM, "CopyProperties", transforms.CopyProperties, (_FIELDS, *properties))


def _add_model(registry: Registry) -> None:
    for name in ("TRTISSimpleInferer", "TritonSimpleInferer"):
        registry.add(INFERER, name, inferers.SimpleInferer, _SERVER)
    for name in ("TRTISScanWindowInferer", "TritonScanWindowInferer"):
        registry.add(INFERER, name, inferers.ScanWindowInferer, (*_SERVER, *_WINDOW))
    spec = Argument("model_spec_file_name", a.optional(a.TEXT), None)
    for name in ("TRTISModelLoader", "TritonModelLoader"):
        registry.add(LOADER, name, loaders.TritonModelLoader, (spec,))
    field = Argument("field", a.TEXT, "model")
    dtype = Argument("dtype", _DTYPES, None)
    registry.add(WRITER, "WriteNifti", writers.NiftiWriter, (field, dtype))
    for name in ("WriteMetaImage", "WriteMHD"):
        registry.add(WRITER, name, writers.MetaImageWriter, (field, dtype))
