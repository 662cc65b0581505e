"""Which flag each tool takes, and since which version: the contract's matrices, one line a flag.

`since` is the first version and `until` the first one without the flag, both as major.minor. Where
the contract only says in which version a flag was seen, it counts from there: older ones refuse it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

ALWAYS, NEVER = "0.0", "99.0"
QAIRT = "2.25"  # the newest column; the one of 2.5 stands for 2.0 to 2.24


@dataclass(frozen=True)
class Flag:
    """words: how many follow; "?" for none or one, "+" for one or more, "*" for any number.

    choices: what a following word may be. warning: text of what the tool says of a deprecated one.
    """

    names: tuple[str, ...]
    words: int | str = 0
    since: str = ALWAYS
    until: str = NEVER
    required: bool = False
    choices: tuple[str, ...] = ()
    warning: str = ""

    @property
    def key(self) -> str:
        """The long name without its dashes."""
        return max(self.names, key=len).lstrip("-")


def numbers(version: str) -> tuple[int, int]:
    """(major, minor) of a dotted version."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def flags_of(tool: str, version: str) -> tuple[Flag, ...]:
    """The flags that the tool takes in that version."""
    at = numbers(version)
    return tuple(flag for flag in _TOOLS[tool] if numbers(flag.since) <= at < numbers(flag.until))


def _flag(names: str, words: int | str = 0, **more) -> Flag:
    return Flag(tuple(names.split()), words, **more)


def _switches(names: str, **more) -> Iterator[Flag]:
    return (_flag(name, **more) for name in names.split())


LAYOUTS = ("NCDHW", "NDHWC", "NCHW", "NHWC", "NFC", "NCF", "NTF", "TNF", "NF", "NC", "F")

_ONNX_TO_DLC = (
    _flag("-i --input_network", 1, required=True),
    _flag("-o --output_path", 1),
    _flag("--copyright_file", 1),
    _flag("--model_version", 1),
    _flag("--disable_batchnorm_folding"),
    _flag("-t --input_type", 2),
    _flag("--input_dtype", 2),
    _flag("-e --input_encoding", "+"),
    _flag("-d --input_dim", 2, since="1.50"),
    _flag("--out_node", 1, since="1.50"),
    _flag("--out_name", 1, since="1.56"),
    _flag("-l --input_layout", 2, since="1.68"),
    _flag("-b --batch", 1, since="1.68"),
    _flag("-s --define_symbol", 2, since="1.68"),
    _flag("-n --no_simplification", since="1.54"),
    _flag("--quantization_overrides", 1, since="1.51"),
    _flag("--keep_quant_nodes", since="1.54"),
    _flag("--keep_disconnected_nodes", since="1.68"),
    _flag("--validation_target", 2),
    _flag("--strict"),
    _flag("--debug", "?"),
    _flag("--dry_run", "?", choices=("info", "debug")),
    _flag("-udo --udo_config_paths", "+"),
    _flag("--custom_io", 1, since=QAIRT),
    _flag("--dump_custom_io_config_template", 1, since=QAIRT),
    _flag("--preserve_io", "*", since=QAIRT),
    _flag("--float_bw", 1, since="2.0", until=QAIRT, choices=("32", "16")),
    _flag("--float_bitwidth", 1, since=QAIRT, choices=("32", "16")),
    _flag("--float_bias_bw --float_bias_bitwidth", 1, since=QAIRT, choices=("32", "16")),
    _flag("--expand_lstm_op_structure", since=QAIRT),
    _flag("-opl --op_package_lib", 1, since=QAIRT),
    _flag("-cpl --converter_op_package_lib", 1, since=QAIRT),
    _flag("-p --package_name", 1, since=QAIRT),
    _flag("-opc --op_package_config", "+", since=QAIRT),
    _flag("--enable_framework_trace", since="2.39"),
    _flag("--preserve_onnx_output_order", since="2.39"),
    _flag("--dump_qairt_io_config_yaml", "?", since="2.39"),
)

_BITS = ("8", "16")
_LOGGING = (
    *_switches("--verbose --quiet --silent --debug1 --debug2 --debug3"),
    *_switches("--log-file-include-hostname"),
    *(_flag(name, 1) for name in ("--debug", "--log-mask", "--log-file", "--log-dir")),
)


def _renamed(old: str, new: str) -> str:
    return f"{old} is deprecated, use {new} option."


_DLC_QUANT = (
    _flag("--input_dlc", 1, required=True),
    _flag("--input_list", 1),
    _flag("--output_dlc", 1),
    _flag("--no_weight_quantization", until=QAIRT),
    _flag(
        "--no_weight_quantization", since=QAIRT, warning="--no_weight_quantization is deprecated."
    ),
    _flag("--use_enhanced_quantizer", until=QAIRT),
    _flag(
        "--use_enhanced_quantizer",
        since=QAIRT,
        warning=_renamed("--use_enhanced_quantizer", "--param_quantizer/--act_quantizer enhanced"),
    ),
    _flag("--use_adjusted_weights_quantizer", until=QAIRT),
    _flag(
        "--use_adjusted_weights_quantizer",
        since=QAIRT,
        until="2.42",
        warning="--use_adjusted_weights_quantizer is deprecated.",
    ),
    _flag("--use_symmetric_quantize_weights", until=QAIRT),
    _flag(
        "--use_symmetric_quantize_weights",
        since=QAIRT,
        warning=_renamed("--use_symmetric_quantize_weights", "--param_quantizer symmetric"),
    ),
    _flag("--axis_quant", since="1.56", until="2.22"),
    _flag(
        "--axis_quant",
        since="2.22",
        warning=_renamed("--axis_quant", "--use_per_channel_quantization"),
    ),
    _flag("--use_per_channel_quantization", since="2.0"),
    _flag("--use_per_row_quantization", since=QAIRT),
    _flag("--optimizations", 1, until=QAIRT, choices=("cle", "bc")),
    _flag("--algorithms", 1, since=QAIRT, choices=("cle",)),
    _flag("--override_params"),
    _flag("--use_encoding_optimizations", since="1.56", until=QAIRT),
    _flag(
        "--use_encoding_optimizations",
        since=QAIRT,
        warning="--use_encoding_optimizations is deprecated.",
    ),
    _flag("--clip_alpha", 1, since="1.56", until="2.0"),
    _flag("--skip_quantization", since="1.56", until="2.0"),
    _flag("--bias_bitwidth", 1, choices=("8", "32")),
    _flag("--act_bitwidth", 1, choices=_BITS),
    _flag("--weights_bitwidth", 1, until=QAIRT, choices=_BITS),
    _flag("--weights_bitwidth", 1, since=QAIRT, choices=("4", *_BITS)),
    _flag("--bitwidth", 1, until=QAIRT, choices=_BITS),
    _flag("--bitwidth", 1, since=QAIRT, choices=_BITS, warning="--bitwidth is deprecated."),
    _flag("--float_bitwidth", 1, since=QAIRT, choices=("16", "32")),
    _flag("--float_bias_bitwidth", 1, since=QAIRT, choices=("16", "32")),
    _flag("--float_fallback", since=QAIRT),
    _flag("--param_quantizer", 1, since=QAIRT, choices=("tf", "enhanced", "symmetric")),
    _flag("--act_quantizer", 1, since=QAIRT, choices=("tf", "enhanced", "symmetric")),
    _flag("--use_native_input_files", since="2.5"),
    _flag("--use_native_output_files", since="2.5"),
    _flag("--restrict_quantization_steps", 1, since=QAIRT),
    _flag("--pack_4_bit_weights", since=QAIRT),
    _flag("--enable_hta", until="2.0"),
    _flag("--hta_partitions", 1, until="2.0"),
    _flag("--enable_hta", since="2.0", until=QAIRT, warning="--enable_hta is deprecated."),
    _flag(
        "--hta_partitions", 1, since="2.0", until=QAIRT, warning="--hta_partitions is deprecated."
    ),
    _flag("--udo_package_path", 1),
    *_LOGGING,
)

# Since 2.0 a script that calls snpe-dlc-quant and then snpe-dlc-graph-prepare.
_DLC_QUANTIZE = (
    *_DLC_QUANT,
    _flag("--enable_htp"),
    _flag("--htp_socs", 1),
    _flag("--overwrite_cache_records", since="2.0"),
    _flag("--use_float_io", since="2.0", warning="--use_float_io is deprecated."),
)

_CALIBRATIONS = ("min-max", "sqnr", "entropy", "mse", "percentile")
_SCHEMAS = ("asymmetric", "symmetric", "unsignedsymmetric")
_APPLIED = ("cle", "adaround", "amp")

_QAIRT_QUANTIZER = (
    _flag("-i --input_dlc", 1, required=True),
    _flag("-l --input_list", 1),
    _flag("-o --output_dlc", 1),
    _flag("--use_per_channel_quantization"),
    _flag("--use_per_row_quantization"),
    _flag("--enable_per_row_quantized_bias"),
    _flag("--algorithms", "+", until="2.26", choices=_APPLIED),
    _flag("--apply_algorithms", "+", since="2.26", choices=_APPLIED),
    _flag("--ignore_quantization_overrides"),
    _flag("--bias_bitwidth", 1, choices=("8", "32")),
    _flag("--act_bitwidth", 1, choices=_BITS),
    _flag("--weights_bitwidth", 1, choices=("4", *_BITS)),
    _flag("--float_bitwidth", 1, choices=("16", "32")),
    _flag("--float_bias_bitwidth", 1, choices=("16", "32")),
    _flag("-f --enable_float_fallback"),
    _flag("--param_quantizer_calibration", 1, choices=_CALIBRATIONS),
    _flag("--act_quantizer_calibration", 1, choices=_CALIBRATIONS),
    _flag("--param_quantizer_schema", 1, choices=_SCHEMAS),
    _flag("--act_quantizer_schema", 1, choices=_SCHEMAS),
    _flag("--percentile_calibration_value", 1),
    _flag("--use_native_input_files"),
    _flag("--use_native_output_files"),
    _flag("--restrict_quantization_steps", 1),
    _flag("--target_backend", 1),
    _flag("--target_soc_model", 1),
    _flag("--dump_encoding_json"),
    _flag("--export_stripped_dlc"),
    _flag("-c --config", 1),
    _flag("--keep_weights_quantized"),
    _flag("--adjust_bias_encoding"),
    _flag("--use_aimet_quantizer"),
)

_GRAPH_PREPARE = (
    _flag("--input_dlc", 1, required=True),
    _flag("--output_dlc", 1),
    _flag("--set_output_tensors", 1),
    _flag("--set_output_layers", 1),
    _flag("--input_list", 1),
    _flag("--htp_socs", 1),
    _flag("--htp_archs", 1),
    _flag("--vtcm_override", 1),
    _flag("--optimization_level", 1, choices=("1", "2", "3")),
    _flag("--htp_dlbc", 1, choices=("true", "false")),
    _flag("--num_hvx_threads", 1),
    _flag("--input_name", 1),
    _flag("--input_dimensions", 1),
    _flag("--memorymapped_buffer_hint", 1),
    _flag("--overwrite_cache_records"),
    _flag("--use_float_io", warning="--use_float_io is deprecated."),
    _flag("--buffer_data_type", 1, warning="--buffer_data_type is deprecated."),
    _flag("--udo_package_path", 1),
    *_LOGGING,
)

_TARGET_BACKENDS = ("CPU", "GPU", "DSP", "HTP", "HTA", "LPAI")

_QAIRT_CONVERTER = (
    _flag("-i --input_network", 1, required=True),
    _flag("-o --output_path", 1),
    _flag("--desired_input_shape", 2, until="2.26"),
    _flag("-s --source_model_input_shape", 2, since="2.26"),
    _flag("--out_tensor_node --out_tensor_name", 1),
    _flag("--source_model_input_datatype", 2),
    _flag("--source_model_input_layout", 2),
    _flag("--desired_input_layout", 2),
    _flag("--source_model_output_layout", 2),
    _flag("--desired_output_layout", 2),
    _flag("-e --desired_input_color_encoding", "+"),
    _flag("--preserve_io", "*", until="2.26"),
    _flag("--preserve_io_datatype", "*", since="2.26"),
    _flag("--dump_io_config_template", 1, until="2.26"),
    _flag("--dump_config_template", 1, since="2.26"),
    _flag("--config", 1),
    _flag("--dry_run", "?"),
    _flag("--enable_framework_trace"),
    _flag("--float_bitwidth", 1, choices=("32", "16")),
    _flag("--float_bias_bitwidth", 1, choices=("32", "16")),
    _flag("--set_model_version", 1),
    _flag("--export_format", 1, choices=("DLC_DEFAULT", "DLC_STRIP_QUANT")),
    _flag("-q --quantization_overrides", 1),
    _flag("-oss --onnx_skip_simplification"),
    _flag("--onnx_override_batch", 1),
    _flag("--onnx_define_symbol", 2),
    _flag("--onnx_validate_models"),
    _flag("--onnx_summary"),
    _flag("--target_backend", 1, choices=_TARGET_BACKENDS),
    _flag("--target_soc_model", 1),
)

_DLC_INFO = (
    _flag("-i --input_dlc", 1, required=True),
    _flag("-s --save", 1),
    _flag("-m --display_memory", since=QAIRT),
    _flag("-d --display_all_encodings", since=QAIRT),
)
_QAIRT_DLC_INFO = (*_DLC_INFO, _flag("-t --dump_framework_trace"))

_PERF_PROFILES = (
    *("system_settings", "power_saver", "balanced", "default"),
    *("high_performance", "sustained_high_performance", "burst"),
)
_PERF_PROFILES_2_5 = (*_PERF_PROFILES, "low_balanced", "low_power_saver", "high_power_saver")
_PERF_PROFILE = (
    _flag("--perf_profile", 1, until="2.5", choices=_PERF_PROFILES),
    _flag("--perf_profile", 1, since="2.5", until=QAIRT, choices=_PERF_PROFILES_2_5),
    _flag("--perf_profile", 1, since=QAIRT, choices=(*_PERF_PROFILES_2_5, "extreme_power_saver")),
)
_LEVELS = ("off", "basic", "moderate", "detailed")

_NET_RUN = (
    _flag("--container", 1, required=True),
    _flag("--input_list", 1, required=True),
    _flag("--output_dir", 1),
    *_switches("--use_gpu --use_dsp --use_aip"),
    _flag("--gpu_mode", 1, choices=("default", "float16")),
    _flag("--runtime_order", 1),
    _flag("--enable_cpu_fallback"),
    *_PERF_PROFILE,
    _flag("--perf_config_yaml", 1, since=QAIRT),
    _flag("--profiling_level", 1, until="2.0", choices=_LEVELS),
    _flag("--profiling_level", 1, since="2.0", choices=(*_LEVELS, "linting")),
    _flag("--debug"),
    _flag("--set_output_tensors", 1, since="1.50"),
    _flag("--set_unconsumed_as_output", since="2.0"),
    *_switches("--userbuffer_float --userbuffer_tf8", until="2.0"),
    *_switches("--userbuffer_auto --static_min_max", since="1.63"),
    *_switches("--userbuffer_memorymapped --userbuffer_glbuffer", since="1.63"),
    *(
        _flag(name, 1, since="1.63")
        for name in (
            *("--userbuffer_floatN", "--userbuffer_tfN", "--userbuffer_floatN_output"),
            *("--userbuffer_tfN_output", "--userbuffer_uintN_output", "--resizable_dim"),
        )
    ),
    _flag("--data_type_map", 1, since="1.63"),
    _flag("--tensor_mode", 1, since="1.63", choices=("userBuffer", "itensor")),
    *_switches("--use_native_input_files --use_native_output_files", since="2.5"),
    _flag("--input_name", 1),
    _flag("--input_dimensions", 1),
    _flag("--enable_init_cache"),
    _flag(
        "--cache_compatibility_mode",
        1,
        since=QAIRT,
        choices=("permissive", "strict", "always_generate_new"),
    ),
    _flag("--validate_cache", since=QAIRT),
    _flag("--platform_options", 1),
    *_switches("--dbglogs --graph_init --graph_execute --enable_cpu_fxp"),
    *(
        _flag(name, 1)
        for name in (
            *("--priority_hint", "--inferences_per_duration", "--duration", "--timeout"),
            *("--userlogs", "--storage_dir", "--encoding_type", "--udo_package_path"),
        )
    ),
)

_THROUGHPUT = (
    _flag("--container", 1, required=True),
    _flag("--duration", 1),
    *_switches("--use_cpu --use_gpu --use_gpu_fp16 --use_dsp --use_aip"),
    *_PERF_PROFILE,
    _flag("--runtime_order", 1, since="2.0"),
    *_switches("--verbose --skip_execute --enable_cpu_fallback --enable_init_cache"),
    *_switches("--userbuffer_float --userbuffer_tf8 --userbuffer_auto"),
    *(
        _flag(name, 1)
        for name in (
            *("--iterations", "--input_raw", "--json", "--fixed_fps", "--groupDuration"),
            "--platform_options",
            *("--groupSleep", "--set_output_layers", "--set_output_tensors", "--model_name"),
        )
    ),
)

_DIAGVIEW = (
    _flag("--input_log", 1, required=True),
    _flag("--output", 1),
    _flag("--chrometrace", 1, since="2.0"),
    _flag("--csv_format_version", 1, since="2.30", choices=("1", "2")),
)

_VALIDATOR = (
    _flag("--runtime", 1, choices=("gpu", "dsp", "aip", "all"), required=True),
    *_switches("--coreVersion --libVersion --testRuntime --debug"),
    _flag("--targetPath", 1),
)

_HELP = (_flag("-h --help"), _flag("--version"))

PYTHON_TOOLS = (
    *("snpe-onnx-to-dlc", "qairt-converter", "qairt-quantizer"),
    *("snpe-dlc-info", "qairt-dlc-info"),
)
FIRST_VERSIONS = {
    "snpe-dlc-quant": "2.0",
    "snpe-dlc-graph-prepare": "2.0",
    "qairt-converter": "2.21",
    "qairt-quantizer": "2.21",
    "qairt-dlc-info": "2.21",
}
_TOOLS = {
    name: (*_HELP, *flags)
    for name, flags in {
        "snpe-onnx-to-dlc": _ONNX_TO_DLC,
        "snpe-dlc-quantize": _DLC_QUANTIZE,
        "snpe-dlc-quant": _DLC_QUANT,
        "snpe-dlc-graph-prepare": _GRAPH_PREPARE,
        "qairt-converter": _QAIRT_CONVERTER,
        "qairt-quantizer": _QAIRT_QUANTIZER,
        "snpe-dlc-info": _DLC_INFO,
        "qairt-dlc-info": _QAIRT_DLC_INFO,
        "snpe-net-run": _NET_RUN,
        "snpe-throughput-net-run": _THROUGHPUT,
        "snpe-diagview": _DIAGVIEW,
        "snpe-platform-validator": _VALIDATOR,
    }.items()
}
DEVICE_TOOLS = (*("snpe-net-run", "snpe-throughput-net-run", "snpe-platform-validator"),)


def tools_of(version: str) -> tuple[str, ...]:
    """Names of the host tools of that version."""
    at = numbers(version)
    return tuple(name for name in _TOOLS if numbers(FIRST_VERSIONS.get(name, ALWAYS)) <= at)
