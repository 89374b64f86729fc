/* A stand-in for libedgetpu: a TFLite delegate that runs the custom op of files compiled for the Edge TPU.
 *
 * What it computes is an average over blocks of the image, the same as `pool.tflite` computes on the CPU, so that
 * both give features of one space. How it behaves is what the file named by FAKE_EDGETPU says, read anew each time:
 *
 *   works            answers
 *   no device        there is no delegate
 *   abort            the process ends by SIGABRT, as a real one's does when USB fails
 *   hang             never answers
 *   slow MS          answers after MS milliseconds
 *   fails            the inference returns an error
 *   constant         answers one value throughout
 *   nan              answers NaN (files with float output)
 *   wrong shape      its output has two values too few
 *   dies after N     answers N times in this process, then aborts
 *
 * "abort", "hang" and "fails" come at the first inference; with "at start" behind them, when the device is opened.
 *
 *   cc -O2 -shared -fPIC -o libfakeedgetpu.so edgetpu.c
 *
 * The declarations are those of TensorFlow Lite's C interface (tensorflow/lite/core/c/common.h), as far as they are
 * needed, so that no headers are.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef enum { kOk = 0, kError = 1 } Status;
enum { kFloat32 = 1, kBuiltinDelegate = 51, kAllowDynamicTensors = 1 };

typedef struct { int size; int data[]; } IntArray;
typedef struct Delegate Delegate;

typedef struct {
    int type;
    union { uint8_t *bytes; float *floats; } data;
    IntArray *dims;
    struct { float scale; int32_t zero_point; } params;
    int allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    Delegate *delegate;
    int buffer_handle;
    bool data_is_stale, is_variable;
    struct { int type; void *params; } quantization;
    void *sparsity;
    const IntArray *dims_signature;
} Tensor;

typedef struct { IntArray *inputs, *outputs; } Node; /* the rest is not looked at */
typedef struct Context Context;

typedef struct {
    void *(*init)(Context *, const char *, size_t);
    void (*free)(Context *, void *);
    Status (*prepare)(Context *, Node *);
    Status (*invoke)(Context *, Node *);
    const char *(*profiling_string)(const Context *, const Node *);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    /* Passed by value to runtimes whose struct is longer: what they read beyond ours must be zero. */
    uint64_t of_later_versions[12];
} Registration;

struct Context {
    size_t tensors_size;
    Status (*GetExecutionPlan)(Context *, IntArray **);
    Tensor *tensors;
    void *impl;
    Status (*ResizeTensor)(Context *, Tensor *, IntArray *);
    void (*ReportError)(Context *, const char *, ...);
    Status (*AddTensors)(Context *, int, int *);
    Status (*GetNodeAndRegistration)(Context *, int, Node **, Registration **);
    Status (*ReplaceNodeSubsetsWithDelegateKernels)(Context *, Registration, const IntArray *, Delegate *);
};

struct Delegate {
    void *data;
    Status (*Prepare)(Context *, Delegate *);
    void *copy_from, *copy_to, *free_buffer;
    int64_t flags;
    char of_later_versions[256];
};

static int answers;

/* Whether the mode now begins with this word; what follows it is `rest`. */
static bool mode_is(const char *word, char rest[64]) {
    char mode[128] = "works";
    const char *path = getenv("FAKE_EDGETPU");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        if (!fgets(mode, sizeof mode, file)) strcpy(mode, "works");
        fclose(file);
    }
    if (strncmp(mode, word, strlen(word)) != 0) return false;
    snprintf(rest, 64, "%.63s", mode + strlen(word));
    return true;
}

static void wait_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Misbehave as asked; `when` is " at start" or "". Returns an error when the device should. */
static Status misbehave(const char *when) {
    char rest[64];
    if (mode_is("abort", rest) && !strncmp(rest, when, strlen(when))) abort();
    while (mode_is("hang", rest) && !strncmp(rest, when, strlen(when))) pause();
    if (mode_is("fails", rest) && !strncmp(rest, when, strlen(when))) return kError;
    return kOk;
}

/* The mean of each square block of an image (1, h, w, channels), as (1, h / side, w / side, channels). */
static float block_mean(const Tensor *in, int side, int index) {
    int width = in->dims->data[2], channels = in->dims->data[3], columns = width / side;
    int channel = index % channels, column = index / channels % columns, row = index / channels / columns;
    long sum = 0;
    for (int y = row * side; y < (row + 1) * side; y++)
        for (int x = column * side; x < (column + 1) * side; x++)
            sum += in->data.bytes[(y * width + x) * channels + channel];
    return (float)sum / (side * side);
}

static Status invoke(Context *context, Node *node) {
    const Tensor *in = &context->tensors[node->inputs->data[0]];
    Tensor *out = &context->tensors[node->outputs->data[0]];
    char rest[64];
    if (misbehave("") != kOk) {
        context->ReportError(context, "USB transfer error 2");
        return kError;
    }
    if (mode_is("slow", rest)) wait_ms(atol(rest));
    if (mode_is("dies after", rest) && answers++ >= atoi(rest)) abort();
    bool floats = out->type == kFloat32, nan = mode_is("nan", rest), constant = mode_is("constant", rest);
    int count = (int)(out->bytes / (floats ? sizeof(float) : 1));
    for (int i = 0; i < count; i++) {
        float mean = nan ? NAN : constant ? 7 : block_mean(in, 8, i);
        if (floats) out->data.floats[i] = mean;
        else out->data.bytes[i] = (uint8_t)lrintf(mean);
    }
    return kOk;
}

static Status prepare(Context *context, Node *node) {
    char rest[64];
    if (!mode_is("wrong shape", rest)) return kOk;
    Tensor *out = &context->tensors[node->outputs->data[0]];
    IntArray *dims = malloc(sizeof(int) * 3); /* the runtime frees it */
    dims->size = 2;
    dims->data[0] = 1;
    dims->data[1] = out->dims->data[1] - 2;
    return context->ResizeTensor(context, out, dims);
}

/* Claim every op that the Edge TPU's compiler made. */
static Status claim(Context *context, Delegate *delegate) {
    IntArray *plan;
    if (context->GetExecutionPlan(context, &plan) != kOk) return kError;
    IntArray *ours = calloc(1, sizeof(int) * (size_t)(plan->size + 1));
    for (int i = 0; i < plan->size; i++) {
        Node *node;
        Registration *op;
        if (context->GetNodeAndRegistration(context, plan->data[i], &node, &op) != kOk) continue;
        if (op->custom_name && !strcmp(op->custom_name, "edgetpu-custom-op")) ours->data[ours->size++] = plan->data[i];
    }
    Registration kernel = {.prepare = prepare, .invoke = invoke, .builtin_code = kBuiltinDelegate,
                           .custom_name = "FakeEdgeTpuDelegate", .version = 1};
    Status status = kOk;
    if (ours->size) status = context->ReplaceNodeSubsetsWithDelegateKernels(context, kernel, ours, delegate);
    free(ours);
    return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    char rest[64];
    (void)keys, (void)values, (void)count;
    if (mode_is("no device", rest) || misbehave(" at start") != kOk) {
        if (report) report("Failed to load delegate");
        return NULL;
    }
    Delegate *delegate = calloc(1, sizeof *delegate);
    delegate->Prepare = claim;
    /* Without it the runtime prepares the custom op itself first, and refuses it. */
    delegate->flags = kAllowDynamicTensors;
    return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
