"""Checks of a prompt before it is queued, as ComfyUI makes them (`execution.py`, validate_prompt)."""

import inspect
import traceback

import execution
import nodes
from comfy_execution.graph import get_input_info
from comfy_execution.graph_utils import ExecutionBlocker, is_link

_KINDS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def _error(kind, message, name, details=""):
    return {"type": kind, "message": message, "details": details or name, "extra_info": {"input_name": name}}


def _fits(received, wanted):
    """Whether a socket type fits another."""
    if received != wanted and wanted != "*" and received != "*":
        return isinstance(wanted, str) and isinstance(received, str) and bool(set(received.split(",")) & set(wanted.split(",")))
    return True


def _check_value(name, value, kind, options):
    if "min" in options and value < options["min"]:
        return _error("value_smaller_than_min", f"Value {value} smaller than min of {options['min']}", name)
    if "max" in options and value > options["max"]:
        return _error("value_bigger_than_max", f"Value {value} bigger than max of {options['max']}", name)
    if isinstance(kind, list) and value not in kind:
        return _error("value_not_in_list", "Value not in list", name, f"{name}: {value!r} not in {kind}")
    return None


async def validate_inputs(prompt_id, prompt, item, validated):
    """Errors of a node and of what it needs: (all well, errors, id)."""
    if item in validated:
        return validated[item]
    inputs = prompt[item]["inputs"]
    cls = nodes.NODE_CLASS_MAPPINGS[prompt[item]["class_type"]]
    valid = cls.INPUT_TYPES()
    check = getattr(cls, "VALIDATE_INPUTS", None)
    spec = inspect.getfullargspec(check) if check is not None else None
    checked, all_checked = (spec.args, spec.varkw is not None) if spec else ([], False)
    errors, sound, received = [], True, {}
    for name in {**valid.get("required", {}), **valid.get("optional", {})}:
        kind, section, options = get_input_info(cls, name, valid)
        if name not in inputs:
            if section == "required":
                errors.append(_error("required_input_missing", "Required input is missing", name))
        elif is_link(inputs[name]):
            source, socket = inputs[name]
            received[name] = nodes.NODE_CLASS_MAPPINGS[prompt[source]["class_type"]].RETURN_TYPES[socket]
            if "input_types" not in checked and not _fits(received[name], kind):
                errors.append(_error("return_type_mismatch", "Return type mismatch between linked nodes", name))
            else:
                sound = (await validate_inputs(prompt_id, prompt, source, validated))[0] and sound
        else:
            try:
                if isinstance(kind, str) and kind in _KINDS:
                    inputs[name] = _KINDS[kind](inputs[name])
            except Exception as error:
                details = f"{name}, {inputs[name]}, {error}"
                errors.append(_error("invalid_input_type", f"Failed to convert an input value to a {kind} value", name, details))
                continue
            found = None if name in checked or all_checked else _check_value(name, inputs[name], kind, options)
            errors += [found] if found else []
    if checked or all_checked:
        errors += await _ask(prompt_id, item, cls, inputs, checked, all_checked, received)
    validated[item] = (sound and not errors, errors, item)
    return validated[item]


async def _ask(prompt_id, item, cls, inputs, checked, all_checked, received):
    """What VALIDATE_INPUTS says."""
    given, _ = execution.get_input_data(inputs, cls, item)
    given = {name: value for name, value in given.items() if name in checked or all_checked}
    if "input_types" in checked:
        given["input_types"] = [received]
    answers = await execution._async_map_node_over_list(prompt_id, item, cls, given, "VALIDATE_INPUTS")
    answers = await execution.resolve_map_node_over_list_results(answers)
    bad = [answer for answer in answers if answer is not True and not isinstance(answer, ExecutionBlocker)]
    texts = [(name, f"{name} - {answer}" if answer is not False else name) for name in given for answer in bad]
    return [_error("custom_validation_failed", "Custom validation failed for node", name, text) for name, text in texts]


def _missing(prompt):
    for number, node in prompt.items():
        if node["class_type"] not in nodes.NODE_CLASS_MAPPINGS:
            return f"Node {number}: there is no node class {node['class_type']}."
    return None


async def validate_prompt(prompt_id, prompt):
    """(error or None, outputs that can run, errors by node)."""
    problem = _missing(prompt)
    outputs = [] if problem else [x for x in prompt if getattr(nodes.NODE_CLASS_MAPPINGS[prompt[x]["class_type"]], "OUTPUT_NODE", False)]
    if not outputs:
        message = problem or "Prompt has no outputs"
        return {"type": "invalid_prompt", "message": message, "details": "", "extra_info": {}}, [], {}
    good, validated = [], {}
    for output in outputs:
        try:
            if (await validate_inputs(prompt_id, prompt, output, validated))[0]:
                good.append(output)
        except Exception as error:
            trace = traceback.format_tb(error.__traceback__)
            found = {**_error("exception_during_validation", "Exception when validating node", "", str(error)), "traceback": trace}
            validated[output] = (False, [found], output)
    bad = {node: {"errors": errors, "class_type": prompt[node]["class_type"]} for node, (_, errors, _) in validated.items() if errors}
    if good:
        return None, good, bad
    details = "\n".join(f"{error['message']}: {error['details']}" for each in bad.values() for error in each["errors"])
    error = {
        "type": "prompt_outputs_failed_validation",
        "message": "Prompt outputs failed validation",
        "details": details,
        "extra_info": {},
    }
    return error, [], bad
