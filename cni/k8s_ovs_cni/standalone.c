/* How does one request get to k8s-ovs, and its answer back, on a host without Python or a C library?
 *
 * The program does what program.py does, byte for byte; that one says what is on the socket, and the
 * unit tests compare them. Nothing is freed or closed: the program carries one request and exits.
 *
 * standalone.py defines STAMP, and what is the same in both: SOCKET, TIMEOUT_MS, VERSIONS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PART = 65536 };

/* Any bytes, NULs among them. */
struct bytes {
    const char *at;
    size_t size;
};

#define TEXT(literal) ((struct bytes){.at = (literal), .size = sizeof(literal) - 1})
#define JOIN(...) join((struct bytes[]){__VA_ARGS__}, sizeof((struct bytes[]){__VA_ARGS__}))

#define INVALID_ENVIRONMENT TEXT("4")
#define TRY_AGAIN_LATER TEXT("11")
#define NOT_AVAILABLE TEXT("50")

/* By it a file is known to be ours, and of which sources it was made. */
static const char stamp[] __attribute__((used)) = STAMP;

static const char *const versions[] = {VERSIONS};
enum { VERSION_COUNT = sizeof versions / sizeof *versions };
#define NEWEST text(versions[VERSION_COUNT - 1])

/* Here no answer would reach the runtime. */
static _Noreturn void give_up(const char *what, const char *reason)
{
    fprintf(stderr, "k8s-ovs: %s: %s\n", what, reason);
    _exit(1);
}

/* Where so many more can be written. What grows begins as {0}. */
static char *room_after(struct bytes *all, size_t more)
{
    char *at = realloc((char *)all->at, all->size + more);

    if (!at)
        give_up("memory", strerror(errno));
    all->at = at;
    return at + all->size;
}

static void append(struct bytes *to, struct bytes more)
{
    memcpy(room_after(to, more.size), more.at, more.size);
    to->size += more.size;
}

/* size: of the array, in bytes. */
static struct bytes join(const struct bytes *parts, size_t size)
{
    struct bytes all = {0};

    for (size_t n = 0; n < size / sizeof *parts; n++)
        append(&all, parts[n]);
    return all;
}

static struct bytes text(const char *of)
{
    return (struct bytes){.at = of, .size = strlen(of)};
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* What waits until `end` (LLONG_MAX: for ever) returns why it failed, in Python's words, or NULL. */
static const char *wait_for(int file, short event, long long end)
{
    struct pollfd wanted = {.fd = file, .events = event};

    for (;;) {
        long long left = end - now_ms();
        int count = left > 0 ? poll(&wanted, 1, left > INT_MAX ? -1 : (int)left) : 0;
        if (count >= 0)
            return count ? NULL : "timed out";
        if (errno != EINTR)
            return strerror(errno);
    }
}

static const char *read_all(int from, struct bytes *to, long long end)
{
    const char *reason;

    while (!(reason = wait_for(from, POLLIN, end))) {
        ssize_t count = read(from, room_after(to, PART), PART);
        if (count > 0)
            to->size += (size_t)count;
        else if (count == 0)
            return NULL;
        else if (errno != EAGAIN && errno != EINTR)
            return strerror(errno);
    }
    return reason;
}

static const char *write_all(int to, struct bytes all, long long end)
{
    const char *reason;

    for (size_t written = 0; written < all.size;) {
        if ((reason = wait_for(to, POLLOUT, end)))
            return reason;
        ssize_t count = write(to, all.at + written, all.size - written);
        if (count >= 0)
            written += (size_t)count;
        else if (errno != EAGAIN && errno != EINTR)
            return strerror(errno);
    }
    return NULL;
}

static const char *connect_to(int channel, struct bytes path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    /* A NUL ends the path of a file; a name that begins with one is no file's. */
    size_t size = path.size + (path.at[0] != '\0');

    if (size > sizeof to.sun_path)
        return "AF_UNIX path too long";
    memcpy(to.sun_path, path.at, path.size);
    size += offsetof(struct sockaddr_un, sun_path);
    /* It does not wait: a daemon that is behind with accepting is an error. */
    return connect(channel, (struct sockaddr *)&to, (socklen_t)size) ? strerror(errno) : NULL;
}

/* The daemon's reply to the request. Returns why there is none, or NULL. */
static const char *exchange(struct bytes path, struct bytes request, struct bytes *reply)
{
    long long end = now_ms() + TIMEOUT_MS;
    int channel = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const char *reason;

    if (channel < 0)
        return strerror(errno);
    if ((reason = connect_to(channel, path)) || (reason = write_all(channel, request, end)))
        return reason;
    if (shutdown(channel, SHUT_WR))
        return strerror(errno);
    if ((reason = read_all(channel, reply, end)))
        return reason;
    return reply->size ? NULL : "it closed the connection without an answer";
}

/* Whether a CNI_... variable is here in the environment, for the first time. */
static int is_ours(char **place)
{
    const char *equals = strchr(*place, '=');

    if (!equals || strncmp(*place, "CNI_", 4))
        return 0;
    for (char **before = environ; before < place; before++)
        if (!strncmp(*before, *place, (size_t)(equals + 1 - *place)))
            return 0;
    return 1;
}

static struct bytes request_of(struct bytes config)
{
    struct bytes made = {0};

    for (char **place = environ; *place; place++)
        if (is_ours(place))
            append(&made, (struct bytes){.at = *place, .size = strlen(*place) + 1});
    append(&made, TEXT("\0"));
    append(&made, config);
    return made;
}

/* The string whose opening quote comes after blanks and a colon; empty where none does. */
static struct bytes string_at(const char *at, const char *end)
{
    const char *quote;

    while (at < end && memchr(" \t\r\n:", *at, 5))
        at++;
    if (at == end || *at != '"')
        return TEXT("");
    at++;
    quote = memchr(at, '"', (size_t)(end - at));
    return (struct bytes){.at = at, .size = (size_t)((quote ? quote : end) - at)};
}

/* The string at `key` (in quotes) of the configuration's outermost object, empty when none. */
static struct bytes top_level(struct bytes config, const char *key)
{
    const char *end = config.at + config.size, *from = config.at, *counted = config.at, *place;
    ptrdiff_t depth = 0;

    while ((place = memmem(from, (size_t)(end - from), key, strlen(key)))) {
        for (; counted < place; counted++)
            depth += (*counted == '{') - (*counted == '}');
        /* The same key may be in prevResult, too. */
        if (depth == 1)
            return string_at(place + strlen(key), end);
        from = place + 1;
    }
    return TEXT("");
}

/* The answer to VERSION; it is the same without a daemon. All answers are as on the socket: the exit
 * status, then what to print. */
static struct bytes version(struct bytes config)
{
    struct bytes asked = top_level(config, "\"cniVersion\""), spoken = NEWEST, listed = {0};

    for (size_t n = 0; n < VERSION_COUNT; n++) {
        struct bytes known = text(versions[n]);
        if (asked.size == known.size && !memcmp(asked.at, known.at, known.size))
            spoken = known;
        if (n)
            append(&listed, TEXT("\", \""));
        append(&listed, known);
    }
    return JOIN(TEXT("\0{\"cniVersion\": \""), spoken, TEXT("\", \"supportedVersions\": [\""), listed,
                TEXT("\"]}"));
}

/* Exit status 1 and a CNI error; `msg` contains nothing that JSON would have to escape. */
static struct bytes error(struct bytes config, struct bytes code, struct bytes msg)
{
    struct bytes asked = top_level(config, "\"cniVersion\"");

    return JOIN(TEXT("\1{\"cniVersion\": \""), asked.size ? asked : NEWEST, TEXT("\", \"code\": "), code,
                TEXT(", \"msg\": \""), msg, TEXT("\"}"));
}

static struct bytes answer(void)
{
    const char *command = getenv("CNI_COMMAND"), *reason;
    struct bytes config = {0}, path, reply = {0};

    if (!command || !*command)
        return error(TEXT(""), INVALID_ENVIRONMENT,
                     TEXT("CNI_COMMAND is not set: this program is started by container runtimes"));
    if ((reason = read_all(STDIN_FILENO, &config, LLONG_MAX)))
        give_up("standard input", reason);
    if (!strcmp(command, "VERSION"))
        return version(config);
    path = top_level(config, "\"socketPath\"");
    path = path.size ? path : TEXT(SOCKET);
    if (!(reason = exchange(path, request_of(config), &reply)))
        return reply;
    return error(config, strcmp(command, "STATUS") ? TRY_AGAIN_LATER : NOT_AVAILABLE,
                 JOIN(TEXT("k8s-ovs does not answer at "), path, TEXT(": "), text(reason),
                      TEXT(". On this node, look at `systemctl status k8s-ovs` or the log of the "),
                      TEXT("k8s-ovs pod")));
}

int main(void)
{
    struct bytes all, printed;
    const char *reason;

    /* A daemon that hangs up is an error of the socket, not our end. */
    signal(SIGPIPE, SIG_IGN);
    all = answer();
    printed = (struct bytes){.at = all.at + 1, .size = all.size - 1};
    if ((reason = write_all(STDOUT_FILENO, printed, LLONG_MAX)))
        give_up("standard output", reason);
    _exit((unsigned char)all.at[0]);
}
