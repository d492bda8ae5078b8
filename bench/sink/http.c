/* An S3 server on loopback that takes bytes as fast as it can hash them, and forgets them.

   sink [CERTIFICATE.pem]   prints "http PORT" and, with a certificate, "https PORT"; it ends when
   its standard input is closed. Built with -DTLS where OpenSSL's headers are. */
#define _GNU_SOURCE
#include "sink.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/ssl.h>
static SSL_CTX *tls;
#endif

enum { BUFFER = 256 * 1024, HEAD = 64 * 1024 };

typedef struct {
    int fd;
#ifdef TLS
    SSL *ssl;
#endif
    unsigned char buffer[BUFFER];
    size_t from, to;
} Connection;

typedef struct {
    enum { SIZE, DATA, AFTER, TRAILER, DONE } state;
    uint64_t left;
    char line[4096];
    size_t size;
} Chunks;

typedef struct {
    Request *request;
    Md5 md5;
    Text xml;
    int outer, inner, is_xml; /* in chunks of HTTP; in those of S3 inside; wanted whole */
    Chunks chunks[2];
    uint64_t wire;
} Body;

const char *header(const Request *request, const char *name) {
    for (int i = 0; i < request->headers; i++)
        if (!strcasecmp(request->name[i], name)) return request->value[i];
    return NULL;
}

static ssize_t get(Connection *connection, void *to, size_t size) {
#ifdef TLS
    if (connection->ssl) return SSL_read(connection->ssl, to, (int)size);
#endif
    return read(connection->fd, to, size);
}

static int put(Connection *connection, const char *data, size_t size) {
    while (size) {
        ssize_t done;
#ifdef TLS
        if (connection->ssl)
            done = SSL_write(connection->ssl, data, (int)size);
        else
#endif
            done = write(connection->fd, data, size);
        if (done <= 0) return 0;
        data += done, size -= (size_t)done;
    }
    return 1;
}

static int fill(Connection *connection) {
    if (connection->from == connection->to) connection->from = connection->to = 0;
    if (connection->from && connection->to == BUFFER) {
        memmove(connection->buffer, connection->buffer + connection->from, connection->to - connection->from);
        connection->to -= connection->from, connection->from = 0;
    }
    if (connection->to == BUFFER) return 0;
    ssize_t size = get(connection, connection->buffer + connection->to, BUFFER - connection->to);
    if (size <= 0) return 0;
    connection->to += (size_t)size;
    return 1;
}

static void body_bytes_came(Body *body, const unsigned char *data, size_t size) {
    Request *request = body->request;
    md5_feed(&body->md5, data, size);
    request->crc = crc32_of(request->crc, data, size);
    if (body->is_xml)
        text_add(&body->xml, "%.*s", (int)size, (const char *)data);
    else if (request->size < KEPT)
        memcpy(request->kept + request->size, data, size < KEPT - request->size ? size : KEPT - request->size);
    request->size += size;
}

static void trailer(Request *request, const char *line) {
    static const char name[] = "x-amz-checksum-crc32:";
    if (!strncasecmp(line, name, sizeof name - 1))
        snprintf(request->told_crc, sizeof request->told_crc, "%s", line + sizeof name - 1 + strspn(line + sizeof name - 1, " "));
}

static void line_came(Body *body, Chunks *chunks) {
    chunks->line[chunks->size] = 0;
    chunks->size = 0;
    if (chunks->state == SIZE) {
        chunks->left = strtoull(chunks->line, NULL, 16);
        chunks->state = chunks->left ? DATA : TRAILER;
    } else if (chunks->state == AFTER)
        chunks->state = SIZE;
    else if (*chunks->line)
        trailer(body->request, chunks->line);
    else
        chunks->state = DONE;
}

/* Take bytes as they come: out of the chunks of HTTP, then of S3, into the digests. */
static void came(Body *body, int level, const unsigned char *data, size_t size) {
    if (level == 0 && !body->outer) level = 1;
    if (level == 1 && !body->inner) level = 2;
    if (level == 2) {
        body_bytes_came(body, data, size);
        return;
    }
    Chunks *chunks = &body->chunks[level];
    while (size && chunks->state != DONE) {
        if (chunks->state == DATA) {
            size_t now = size < chunks->left ? size : (size_t)chunks->left;
            came(body, level + 1, data, now);
            data += now, size -= now, chunks->left -= now;
            if (!chunks->left) chunks->state = AFTER;
            continue;
        }
        if (*data == '\n')
            line_came(body, chunks);
        else if (*data != '\r' && chunks->size + 1 < sizeof chunks->line)
            chunks->line[chunks->size++] = (char)*data;
        data++, size--;
    }
}

static int read_body(Connection *connection, Request *request) {
    const char *told = header(request, "content-length"), *how = header(request, "transfer-encoding");
    const char *sum = header(request, "x-amz-content-sha256"), *expects = header(request, "expect");
    const char *crc = header(request, "x-amz-checksum-crc32");
    uint64_t left = told ? strtoull(told, NULL, 10) : 0;
    Body *body = calloc(1, sizeof *body);
    body->request = request;
    body->outer = how && strcasestr(how, "chunked");
    body->inner = sum && !strncmp(sum, "STREAMING-", 10);
    body->is_xml = !strcmp(request->method, "POST");
    md5_begin(&body->md5);
    if (crc) snprintf(request->told_crc, sizeof request->told_crc, "%s", crc);
    int well = !expects || put(connection, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    while (well && (body->outer ? body->chunks[0].state != DONE : left > 0)) {
        if (connection->from == connection->to && !fill(connection)) {
            well = 0;
            break;
        }
        size_t size = connection->to - connection->from;
        if (!body->outer && size > left) size = (size_t)left;
        /* In chunks of HTTP nothing of the next request comes before the answer. */
        came(body, 0, connection->buffer + connection->from, size);
        connection->from += size;
        left -= body->outer ? 0 : size;
    }
    md5_end(&body->md5, request->md5);
    request->xml = body->xml.at;
    free(body);
    return well;
}

/* Read the head of a request into lines, in place. */
static int read_head(Connection *connection, Request *request) {
    char *head, *end;
    for (;;) {
        head = (char *)connection->buffer + connection->from;
        end = memmem(head, connection->to - connection->from, "\r\n\r\n", 4);
        if (end) break;
        if (connection->to - connection->from > HEAD || !fill(connection)) return 0;
    }
    connection->from += (size_t)(end - head) + 4;
    head = strndup(head, (size_t)(end - head));
    char *rest, *line = strtok_r(head, "\r\n", &rest), *part;
    request->method = strtok_r(line, " ", &part);
    char *path = strtok_r(NULL, " ", &part);
    if (!path) {
        free(head);
        return 0;
    }
    char *query = strchr(path, '?');
    if (query) *query++ = 0;
    request->path = path, request->query = query ? query : "";
    while ((line = strtok_r(NULL, "\r\n", &rest)) && request->headers < MOST_HEADERS) {
        char *colon = strchr(line, ':');
        if (!colon) continue;
        *colon++ = 0;
        request->name[request->headers] = line;
        request->value[request->headers++] = colon + strspn(colon, " ");
    }
    return 1;
}

static int answer_one(Connection *connection, Request *request) {
    Answer answer = {.status = 200};
    Text text = {0};
    char date[64];
    time_t now = time(NULL);
    struct tm when;
    answer_to(request, &answer);
    int empty = answer.status == 204 || !strcmp(request->method, "HEAD");
    uint64_t length = !strcmp(request->method, "HEAD") ? answer.length : answer.body.size;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &when));
    text_add(&text, "HTTP/1.1 %d %s\r\nServer: AmazonS3\r\nDate: %s\r\n%s", answer.status,
             answer.status < 300 ? "OK" : "Refused", date, answer.headers.at);
    if (answer.status != 204) text_add(&text, "Content-Length: %llu\r\n", (unsigned long long)length);
    text_add(&text, "\r\n");
    int well = put(connection, text.at, text.size);
    if (well && !empty && answer.body.size) well = put(connection, answer.body.at, answer.body.size);
    free(text.at), free(answer.headers.at), free(answer.body.at);
    const char *wish = header(request, "connection");
    return well && !(wish && strcasestr(wish, "close"));
}

static void *serve(void *given) {
    Connection *connection = given;
    int well = 1;
#ifdef TLS
    if (connection->ssl) well = SSL_accept(connection->ssl) == 1;
#endif
    while (well) {
        Request *request = calloc(1, sizeof *request);
        well = read_head(connection, request);
        if (well) {
            well = read_body(connection, request) && answer_one(connection, request);
            free((char *)request->method);
            free(request->xml);
        }
        free(request);
    }
#ifdef TLS
    if (connection->ssl) SSL_free(connection->ssl);
#endif
    close(connection->fd);
    free(connection);
    return NULL;
}

typedef struct {
    int fd, secure;
} Listener;

static void *listen_on(void *given) {
    Listener *listener = given;
    int yes = 1;
    for (;;) {
        int fd = accept(listener->fd, NULL, NULL);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        Connection *connection = malloc(sizeof *connection);
        connection->fd = fd, connection->from = connection->to = 0;
#ifdef TLS
        connection->ssl = listener->secure ? SSL_new(tls) : NULL;
        if (connection->ssl) SSL_set_fd(connection->ssl, fd);
#endif
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, connection) == 0)
            pthread_detach(thread);
        else
            close(fd), free(connection);
    }
    return NULL;
}

static void open_port(const char *name, int secure) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    Listener *listener = malloc(sizeof *listener);
    pthread_t thread;
    listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), listener->secure = secure;
    if (bind(listener->fd, (struct sockaddr *)&at, size) || listen(listener->fd, 512) ||
        getsockname(listener->fd, (struct sockaddr *)&at, &size) ||
        pthread_create(&thread, NULL, listen_on, listener)) {
        perror("sink");
        exit(1);
    }
    printf("%s %d\n", name, ntohs(at.sin_port));
}

int main(int count, char **words) {
    char ignored[64];
    signal(SIGPIPE, SIG_IGN);
    hashes_begin();
    open_port("http", 0);
    if (count > 1) {
#ifdef TLS
        tls = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(tls, words[1]) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls, words[1], SSL_FILETYPE_PEM) != 1) {
            fprintf(stderr, "sink: %s is no certificate with its key\n", words[1]);
            return 1;
        }
        open_port("https", 1);
#else
        fprintf(stderr, "sink: built without TLS\n");
        (void)words;
        return 1;
#endif
    }
    fflush(stdout);
    while (read(0, ignored, sizeof ignored) > 0) continue;
    return 0;
}
