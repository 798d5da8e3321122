"""The Python half of comfyui-envmanager: `shim` in ComfyUI, `worker` in every env, `wire` shared by both."""
