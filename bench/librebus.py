"""librebus.py - as much of rebus.h and rebus_lab.h as the benchmarks call, by ctypes."""
import ctypes as C
import json


class Error(C.Structure):
    _fields_ = [("code", C.c_int), ("text", C.c_char * 256)]


class PromptOptions(C.Structure):
    _fields_ = [("raw", C.c_bool), ("bare", C.c_bool), ("height", C.c_int32), ("width", C.c_int32), ("pil", C.c_bool),
                ("max_patches", C.c_int32), ("positions", C.c_char_p), ("reserved", C.c_uint8 * 64)]


class ModelOptions(C.Structure):
    _fields_ = [("allocator", C.c_void_p), ("copy", C.c_bool), ("trainable", C.c_bool), ("cpu", C.c_char_p), ("precision", C.c_char_p),
                ("patch_size", C.c_int32), ("reserved", C.c_uint8 * 52)]


class SessionOptions(C.Structure):
    _fields_ = [("threads", C.c_int), ("runner", C.c_void_p), ("memory", C.c_size_t), ("stop", C.c_void_p), ("user", C.c_void_p),
                ("reserved", C.c_uint8 * 64)]


class BenchOptions(C.Structure):
    _fields_ = [("repeat", C.c_int32), ("max_tokens", C.c_int32), ("profile", C.c_bool), ("json", C.c_bool), ("shares", C.c_bool),
                ("pictures", C.c_void_p), ("picture_count", C.c_size_t), ("reserved", C.c_uint8 * 64)]


class Rebus:
    """A model in a precision and a session of so many threads."""

    def __init__(self, library, folder, threads, precision="f32"):
        self.lib = C.CDLL(library)
        self.lib.rebus_vectors_data.restype = C.POINTER(C.c_float)
        self.lib.rebus_text_data.restype = C.c_char_p
        self.model, self.session = C.c_void_p(), C.c_void_p()
        self.call("rebus_model_open", folder.encode(), C.byref(ModelOptions(precision=precision.encode())), C.byref(self.model))
        self.call("rebus_session_open", self.model, C.byref(SessionOptions(threads=threads)), C.byref(self.session))

    def call(self, name, *args):
        err = Error()
        if getattr(self.lib, name)(*args, C.byref(err)):
            raise RuntimeError("%s: %s" % (name, err.text.decode()))

    def prompt(self, **options):
        p = C.c_void_p()
        self.call("rebus_prompt_new", self.model, C.byref(PromptOptions(**options)), C.byref(p))
        return p

    def picture(self, rgb, **options):
        """A prompt of one picture, an array [height, width, 3] of bytes."""
        p = self.prompt(**options)
        self.call("rebus_prompt_image_rgb", p, rgb.ctypes.data_as(C.c_void_p), C.c_int32(rgb.shape[0]), C.c_int32(rgb.shape[1]))
        return p

    def free(self, prompt):
        self.lib.rebus_prompt_free(prompt)

    def embed(self, prompts):
        """The vectors as a list of rows."""
        out = C.c_void_p()
        self.call("rebus_embed", self.session, (C.c_void_p * len(prompts))(*prompts), C.c_size_t(len(prompts)), C.byref(out))
        rows, width = C.c_size_t(), C.c_size_t()
        data = self.lib.rebus_vectors_data(out, C.byref(rows), C.byref(width))
        values = [data[i * width.value:i * width.value + 4] for i in range(rows.value)]
        self.lib.rebus_vectors_free(out)
        return values

    def bench(self, prompts, repeat, max_tokens):
        out = C.c_void_p()
        self.call("rebus_bench", self.session, (C.c_void_p * len(prompts))(*prompts), C.c_size_t(len(prompts)),
                  C.byref(BenchOptions(repeat=repeat, max_tokens=max_tokens, json=True)), C.byref(out))
        text = json.loads(self.lib.rebus_text_data(out, None))
        self.lib.rebus_text_free(out)
        return {p["part"]: p for p in text["parts"]}
