/* Finds the nearest instance in a reidd gallery while the daemon writes it. docs/gallery.md describes the layout.
 *
 *     gcc -O2 -o nearest nearest.c && ./nearest /run/reidd/gallery.ring < probes.f32
 *
 * Reads probes of dim float32 values, of length 1, and prints "<id> <instance> <distance>" for each, or "empty". The
 * distance is 1 - cos.
 * Exits with 1 when the file is no gallery, with 2 when its rows stay damaged or its writer stuck.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 3 /* a change takes microseconds, but its writer may have to wait for a processor */

struct header {
    char magic[8]; /* "REIDDRNG" */
    uint64_t version, dim, capacity, slots_at, slot_bytes, features_at, file_bytes;
    uint8_t space[32], reserved[32];
    uint64_t generation, count, used, next_instance, heartbeat_ns, writer_pid, closed; /* from byte 128 */
};

struct slot {
    uint64_t sequence;
    int64_t id; /* -1 when free */
    uint64_t instance;
    int64_t time_ns;
    uint32_t crc, reserved;
};

struct found {
    int64_t id; /* -1 for an empty gallery */
    uint64_t instance;
    float distance;
};

static uint64_t load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static uint32_t crc32(uint32_t crc, const void *bytes, size_t count) /* zlib's */
{
    const uint8_t *byte = bytes;
    crc = ~crc;
    while (count--) {
        crc ^= *byte++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static float distance(const float *one, const float *other, size_t dim)
{
    float dot = 0;
    for (size_t i = 0; i < dim; i++)
        dot += one[i] * other[i];
    return 1 - dot;
}

/* Copies a row and checks the copy: only what matches its checksum was not torn. */
static int whole(const struct slot *slot, const float *feature, size_t dim, struct slot *copy, float *row)
{
    memcpy(copy, slot, sizeof *copy);
    memcpy(row, feature, dim * sizeof *row);
    return copy->sequence % 2 == 0 && copy->crc == crc32(crc32(0, copy, 32), row, dim * sizeof *row);
}

/* Scans once. Gives 0 when the gallery changed meanwhile and has to be scanned again. */
static int scan(const struct header *header, const float *probe, float *row, struct found *nearest)
{
    const struct slot *slots = (const void *)((const char *)header + header->slots_at);
    const float *features = (const void *)((const char *)header + header->features_at);
    uint64_t generation = load(&header->generation), best = 0;
    struct slot copy;

    *nearest = (struct found){-1, 0, 3};
    for (uint64_t i = 0; i < header->used; i++) {
        float d = slots[i].id == -1 ? 3 : distance(probe, features + i * header->dim, header->dim);
        if (d < nearest->distance || (d == nearest->distance && d < 3 && slots[i].instance < nearest->instance))
            best = i, *nearest = (struct found){slots[i].id, slots[i].instance, d};
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (generation % 2 || load(&header->generation) != generation)
        return 0;
    return nearest->id == -1 || (whole(&slots[best], features + best * header->dim, header->dim, &copy, row) &&
                                 copy.id == nearest->id && copy.instance == nearest->instance &&
                                 distance(probe, row, header->dim) == nearest->distance);
}

int main(int argc, char **argv)
{
    struct stat status;
    int file = argc == 2 ? open(argv[1], O_RDONLY) : -1;
    if (file < 0 || fstat(file, &status) || (size_t)status.st_size < sizeof(struct header))
        return 1;
    /* From offset 0, so that it works whatever the size of a page. */
    const struct header *header = mmap(NULL, status.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (header == MAP_FAILED || memcmp(header->magic, "REIDDRNG", 8) || header->version != 1 ||
        header->file_bytes != (uint64_t)status.st_size)
        return 1;

    size_t dim = header->dim;
    float *probe = malloc(dim * sizeof *probe), *row = malloc(dim * sizeof *row);
    struct found nearest;
    while (fread(probe, sizeof *probe, dim, stdin) == dim) {
        double until = seconds() + PATIENCE_S;
        while (!scan(header, probe, row, &nearest)) {
            if (seconds() > until)
                return 2;
            sched_yield();
        }
        if (nearest.id == -1)
            printf("empty\n");
        else
            printf("%lld %llu %.6f\n", (long long)nearest.id, (unsigned long long)nearest.instance, nearest.distance);
        fflush(stdout);
    }
    return 0;
}
