/* Learns one person from each of two images, and asks who is on a third:
 *
 *     identify ipc:///run/reidd/reidd.sock ann.jpg bob.jpg who.jpg
 *
 * Written from docs/protocol.md; libzmq is all it needs. It prints the reply's header, which is JSON.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zmq.h>

enum { TIMEOUT_MS = 5000, HEADER_BYTES = 65536 };

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

static void send_file(void *socket, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    size_t size = (size_t)ftell(file);
    zmq_msg_t frame;
    if (zmq_msg_init_size(&frame, size) != 0)
        fail(path);
    rewind(file);
    if (fread(zmq_msg_data(&frame), 1, size, file) != size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    if (zmq_msg_send(&frame, socket, 0) < 0)
        fail("send");
}

/* Sends a header and an image, and leaves the reply's header in `reply`; the frames behind it are passed over. */
static void ask(void *socket, const char *header, const char *image, char reply[HEADER_BYTES])
{
    if (zmq_send(socket, header, strlen(header), ZMQ_SNDMORE) < 0)
        fail("send");
    send_file(socket, image);
    int size = zmq_recv(socket, reply, HEADER_BYTES - 1, 0);
    if (size < 0)
        fail("no answer");
    reply[size < HEADER_BYTES ? size : HEADER_BYTES - 1] = '\0';
    int more;
    size_t more_size = sizeof more;
    while (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &more_size) == 0 && more)
        zmq_recv(socket, NULL, 0, 0);
    if (strstr(reply, "\"reply\":\"error\"") != NULL) {
        fprintf(stderr, "%s\n", reply);
        exit(1);
    }
}

static void learn(void *socket, int id, const char *image)
{
    char header[256], reply[HEADER_BYTES];
    /* A name of its own for each request: the daemon takes a change of a name it knows for a repeat, and makes it once. */
    unsigned long long name;
    if (getrandom(&name, sizeof name, 0) != sizeof name)
        fail("getrandom");
    snprintf(header, sizeof header,
             "{\"op\":\"add_to_gallery\",\"request\":\"%016llx\",\"id\":%d,\"parts\":[{\"kind\":\"encoded\"}]}", name, id);
    ask(socket, header, image, reply);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s ENDPOINT FIRST SECOND PROBE\n", argv[0]);
        return 2;
    }
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_REQ);
    int on = 1, timeout = TIMEOUT_MS, linger = 0;
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    /* Or a daemon's restart would leave the socket waiting for ever. */
    zmq_setsockopt(socket, ZMQ_REQ_RELAXED, &on, sizeof on);
    zmq_setsockopt(socket, ZMQ_REQ_CORRELATE, &on, sizeof on);
    if (zmq_connect(socket, argv[1]) != 0)
        fail(argv[1]);
    learn(socket, 1, argv[2]);
    learn(socket, 2, argv[3]);
    char reply[HEADER_BYTES];
    ask(socket,
        "{\"op\":\"re_id_image\",\"request\":\"who\",\"parts\":[{\"kind\":\"encoded\"}],\"top_k\":2,\"matrix\":false}",
        argv[4], reply);
    puts(reply);
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}
