/* An S3 server that forgets bodies: what its parts share. */
#ifndef SINK_H
#define SINK_H

#include <stddef.h>
#include <stdint.h>

/* -- hashes.c */

typedef struct {
    uint32_t state[4];
    uint64_t size;
    unsigned char block[64];
} Md5;

void hashes_begin(void);
void md5_begin(Md5 *md5);
void md5_feed(Md5 *md5, const unsigned char *data, size_t size);
void md5_end(Md5 *md5, unsigned char digest[16]);
uint32_t crc32_of(uint32_t crc, const unsigned char *data, size_t size);
uint32_t crc32_joined(uint32_t first, uint32_t second, uint64_t second_size);
void base64_of(const unsigned char *data, size_t size, char *text);
void hex_of(const unsigned char *data, size_t size, char *text);

/* -- text.c: a text that grows */

typedef struct {
    char *at;
    size_t size, room;
} Text;

void text_add(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_xml(Text *text, const char *name, const char *value, int as_url);
char *percent_decoded(const char *text, size_t size);
const char *xml_value(const char *from, const char *name, char *value, size_t room);

/* -- store.c: objects and uploads, by what is known of them */

enum { MOST_HEADERS = 96, KEPT = 4096 };

typedef struct {
    const char *method, *path, *query;
    const char *name[MOST_HEADERS], *value[MOST_HEADERS];
    int headers;
    /* of the body */
    uint64_t size;
    uint32_t crc;
    unsigned char md5[16];
    char kept[KEPT + 1]; /* its first bytes, or all of an XML */
    char *xml;
    char told_crc[64]; /* in a header or a trailer, base64 */
} Request;

typedef struct {
    int status;
    Text headers, body;
    uint64_t length; /* told of a HEAD */
} Answer;

const char *header(const Request *request, const char *name);
void answer_to(const Request *request, Answer *answer);

#endif
