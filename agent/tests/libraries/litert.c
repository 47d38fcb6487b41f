/* An engine with LiteRT's CompiledModel interface that does what its model's file says, for tests of every way in which
   an engine can fail inside the child. Its model has four inputs and doubles the first two.

   `BEHAVIOUR` or `BEHAVIOUR in PLACE`: a place is `teardown` or `unloading`; without one it is done at the third
   inference, or to every output.

   `hang in reading` never opens its model; `hang in reading again` opens it once in a process, and no second time.
   `helper` has a thread more that computes all the time; `short threads` computes each inference once more in a thread of
   its own. */

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, NO_MEMORY = 2, FAILED = 3, UNREADABLE = 500 };

/* LiteRtRankedTensorType: the rank in the low seven bits of a byte, then sizes, then strides. */
typedef struct {
    uint32_t element_type;
    uint8_t rank;
    int32_t sizes[8];
    uint32_t strides[8];
} Ranked;

typedef struct {
    size_t bytes;
    float values[8];
} Buffer;

static char script[64];
static int inferences, opened;
/* Read each time, so that no compiler knows what writing there does. */
static int *volatile nowhere;
static const char in[] = "input", out[] = "output";

static bool is(const char *behaviour) { return strcmp(script, behaviour) == 0; }

static void flood(void)
{
    static char line[4096];
    memset(line, '#', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    for (int i = 0; i < 4096; i++)
        if (write(1 + i % 2, line, sizeof line) < 0)
            abort();
}

/* Until there is no more: then as a program in C++ ends, or with an answer. */
static int leak(void)
{
    for (int i = 0; i < 8; i++) {
        void *block = malloc(32 << 20);
        if (block == NULL && is("leak and say"))
            return NO_MEMORY;
        if (block == NULL) {
            fputs("terminate called after throwing an instance of 'std::bad_alloc'\n", stderr);
            abort();
        }
        memset(block, 1, 32 << 20);
    }
    return OK;
}

/* As a driver waits for a device that does not answer: no signal that can be held back ends it. */
static void hang(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (;;)
        pause();
}

static pthread_t helper;
static atomic_bool helping;

/* Until it is ended, or for 100 µs on a CPU. */
static void *help(void *nothing)
{
    struct timespec ran;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ran);
    while (is("short threads") ? ran.tv_nsec < 100000 : atomic_load(&helping));
    return nothing;
}

static void start_helper(void)
{
    atomic_store(&helping, true);
    if (pthread_create(&helper, NULL, help, NULL) != 0)
        abort();
}

static void end_helper(void)
{
    if (atomic_exchange(&helping, false))
        pthread_join(helper, NULL);
}

static int misbehave(void)
{
    if (is("segfault"))
        *nowhere = 1;
    if (is("exit 0"))
        exit(0);
    if (is("hang"))
        hang();
    if (is("flood"))
        flood();
    if (is("fail"))
        return FAILED;
    return OK;
}

static void at_end(int status, void *nothing) {}

/* As LiteRT up to 2.2.0: the process calls a function of it at its end, which is gone when somebody has unloaded it. */
static void __attribute__((constructor)) loading(void) { on_exit(at_end, NULL); }

static void __attribute__((destructor)) unloading(void)
{
    if (is("segfault in unloading"))
        *nowhere = 1;
}

/* What the agent calls. */

int LiteRtCreateEnvironment(int count, const void *options, void **environment) { *environment = script; return OK; }
void LiteRtDestroyEnvironment(void *environment) {}

int LiteRtCreateModelFromFile(void *environment, const char *path, void **model)
{
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(script, sizeof script, file) == NULL)
        return UNREADABLE;
    fclose(file);
    script[strcspn(script, "\n")] = 0;
    bool again = opened++ > 0;
    if (is("hang in reading") || (again && is("hang in reading again")))
        hang();
    *model = script;
    return OK;
}
void LiteRtDestroyModel(void *model) {}

int LiteRtGetModelSignature(void *model, size_t index, void **signature) { *signature = model; return OK; }
int LiteRtGetNumSignatureInputs(void *signature, size_t *count) { *count = 1; return OK; }
int LiteRtGetNumSignatureOutputs(void *signature, size_t *count) { *count = 1; return OK; }
int LiteRtGetSignatureInputName(void *signature, size_t index, const char **name) { *name = in; return OK; }
int LiteRtGetSignatureOutputName(void *signature, size_t index, const char **name) { *name = out; return OK; }
int LiteRtGetSignatureInputTensorByIndex(void *s, size_t index, void **tensor) { *tensor = (void *)in; return OK; }
int LiteRtGetSignatureOutputTensorByIndex(void *s, size_t index, void **tensor) { *tensor = (void *)out; return OK; }
int LiteRtGetRankedTensorType(void *tensor, Ranked *ranked)
{
    *ranked = (Ranked){ .element_type = 1, .rank = 2, .sizes = { 1, tensor == in ? 4 : 2 } };
    return OK;
}

int LiteRtCreateOptions(void **options) { *options = script; return OK; }
void LiteRtDestroyOptions(void *options) {}
int LiteRtSetOptionsHardwareAccelerators(void *options, int accelerators) { return OK; }
int LiteRtCreateOpaqueOptions(const char *whose, void *payload, void (*release)(void *), void **opaque)
{
    release(payload);
    *opaque = script;
    return OK;
}
int LiteRtAddOpaqueOptions(void *options, void *opaque) { return OK; }

int LiteRtCreateCompiledModel(void *e, void *m, void *o, void **compiled) { *compiled = script; return OK; }
void LiteRtDestroyCompiledModel(void *compiled)
{
    end_helper();
    if (is("segfault in teardown"))
        *nowhere = 1;
    if (is("exit 0 in teardown"))
        exit(0);
    if (is("hang in teardown"))
        hang();
}

int LiteRtGetCompiledModelInputBufferRequirements(void *c, size_t s, size_t index, void **requirements)
{
    *requirements = (void *)in;
    return OK;
}
int LiteRtGetCompiledModelOutputBufferRequirements(void *c, size_t s, size_t index, void **requirements)
{
    *requirements = (void *)out;
    return OK;
}
int LiteRtCreateManagedTensorBufferFromRequirements(void *e, const Ranked *ranked, void *requirements, Buffer **buffer)
{
    *buffer = calloc(1, sizeof **buffer);
    (*buffer)->bytes = sizeof(float) * ranked->sizes[1];
    if (requirements == out && is("other shape"))
        (*buffer)->bytes += sizeof(float);
    return OK;
}
void LiteRtDestroyTensorBuffer(Buffer *buffer) { free(buffer); }
int LiteRtGetTensorBufferSize(Buffer *buffer, size_t *bytes) { *bytes = buffer->bytes; return OK; }
int LiteRtLockTensorBuffer(Buffer *buffer, void **address, int mode) { *address = buffer->values; return OK; }
int LiteRtUnlockTensorBuffer(Buffer *buffer) { return OK; }

int LiteRtRunCompiledModel(void *c, size_t s, size_t ins, Buffer **inputs, size_t outs, Buffer **outputs)
{
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    inferences++;
    if (is("short threads") || (is("helper") && inferences == 1))
        start_helper();
    if (is("leak") || is("leak and say")) {
        int code = leak();
        if (code != OK)
            return code;
    } else if (inferences == 3) {
        int code = misbehave();
        if (code != OK)
            return code;
    }
    for (int i = 0; i < 2; i++)
        outputs[0]->values[i] = is("nan") ? NAN : 2 * inputs[0]->values[i];
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begun.tv_sec) * 1000000000LL + now.tv_nsec - begun.tv_nsec < 100000);
    if (is("short threads"))
        end_helper();
    return OK;
}

int LiteRtGetNumAccelerators(void *environment, size_t *count) { *count = 0; return OK; }

/* What has to be there and is not called. */

#define NOT_CALLED(name) int name(void) { return FAILED; }
NOT_CALLED(LiteRtCreateModelFromBuffer)
NOT_CALLED(LiteRtGetNumModelSignatures)
NOT_CALLED(LiteRtGetOptionsHardwareAccelerators)
NOT_CALLED(LiteRtCompiledModelIsFullyAccelerated)
NOT_CALLED(LiteRtCreateManagedTensorBuffer)
NOT_CALLED(LiteRtGetTensorBufferTensorType)
NOT_CALLED(LiteRtGetNumTensorBufferRequirementsSupportedBufferTypes)
NOT_CALLED(LiteRtGetTensorBufferRequirementsSupportedTensorBufferType)
NOT_CALLED(LiteRtGetTensorBufferRequirementsBufferSize)
NOT_CALLED(LiteRtGetAccelerator)
NOT_CALLED(LiteRtGetAcceleratorId)
NOT_CALLED(LiteRtGetAcceleratorName)
NOT_CALLED(LiteRtGetAcceleratorHardwareSupport)
