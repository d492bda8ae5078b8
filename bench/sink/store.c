/* Objects and uploads of one bucket, by what is known of them; their bytes are forgotten. */
#include "sink.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { MOST_PARTS = 10000 };

typedef struct {
    uint64_t size;
    uint32_t crc;
    unsigned char md5[16];
    int there;
} Part;

typedef struct Thing {
    struct Thing *next;
    char *key, id[40]; /* id: of an upload that is open */
    char *headers;     /* told by HEAD: type, metadata, encryption */
    uint64_t size;
    char etag[48], crc[24], kind[16];
    int checksummed, whole; /* a CRC-32 is kept; it is that of the whole */
    char *kept;
    time_t at;
    Part *parts;
    int last;
} Thing;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Thing *objects, *uploads;
static unsigned long asked, made;
static uint64_t body_bytes;
static struct {
    const char *op;
    unsigned long count;
} counts[24];

static const char *query(const Request *request, const char *name, char *value, size_t room) {
    size_t size = strlen(name);
    for (const char *at = request->query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL) {
        if (strncmp(at, name, size) || (at[size] && at[size] != '=' && at[size] != '&')) continue;
        const char *from = at[size] == '=' ? at + size + 1 : at + size;
        char *found = percent_decoded(from, strcspn(from, "&"));
        snprintf(value, room, "%s", found);
        free(found);
        return value;
    }
    return NULL;
}

static void count(const char *op) {
    for (int i = 0; i < 24; i++) {
        if (!counts[i].op) counts[i].op = op;
        if (!strcmp(counts[i].op, op)) {
            counts[i].count++;
            return;
        }
    }
}

static void refuse(Answer *answer, int status, const char *code, const char *message) {
    answer->status = status;
    answer->body.size = 0;
    text_add(&answer->headers, "Content-Type: application/xml\r\n");
    text_add(&answer->body,
             "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message>"
             "<RequestId>%016lx</RequestId><HostId>sink</HostId></Error>",
             code, message, asked);
}

static void xml(Answer *answer, const char *root) {
    text_add(&answer->headers, "Content-Type: application/xml\r\n");
    text_add(&answer->body,
             "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%s xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", root);
}

static Thing **found(Thing **list, const char *key, const char *id) {
    while (*list && (strcmp((*list)->key, key) || (id && strcmp((*list)->id, id)))) list = &(*list)->next;
    return list;
}

static void drop(Thing **at) {
    Thing *thing = *at;
    *at = thing->next;
    free(thing->key), free(thing->headers), free(thing->kept), free(thing->parts), free(thing);
}

static Thing *new_thing(const Request *request, const char *key) {
    Thing *thing = calloc(1, sizeof *thing);
    Text told = {0};
    thing->key = strdup(key);
    text_add(&told, "%s", "");
    for (int i = 0; i < request->headers; i++) {
        const char *name = request->name[i];
        if (!strncasecmp(name, "x-amz-meta-", 11) || !strcasecmp(name, "content-type") ||
            !strcasecmp(name, "x-amz-server-side-encryption"))
            text_add(&told, "%s: %s\r\n", name, request->value[i]);
    }
    thing->headers = told.at;
    thing->at = time(NULL);
    return thing;
}

static void tell_encryption(const Request *request, Answer *answer) {
    const char *how = header(request, "x-amz-server-side-encryption");
    if (how) text_add(&answer->headers, "x-amz-server-side-encryption: %s\r\n", how);
}

static void crc_text(uint32_t crc, char *text) {
    unsigned char bytes[4] = {(unsigned char)(crc >> 24), (unsigned char)(crc >> 16), (unsigned char)(crc >> 8), (unsigned char)crc};
    base64_of(bytes, 4, text);
}

/* Whether the body is what its headers say; else it is refused. */
static int is_whole(const Request *request, Answer *answer, char crc[24]) {
    char md5[32];
    const char *told = header(request, "content-md5");
    crc_text(request->crc, crc);
    base64_of(request->md5, 16, md5);
    if ((told && strcmp(told, md5)) || (*request->told_crc && strcmp(request->told_crc, crc))) {
        refuse(answer, 400, "BadDigest", "The checksum you specified did not match what we received.");
        return 0;
    }
    return 1;
}

static int is_taken(const Request *request, Answer *answer, const char *key) {
    const char *condition = header(request, "if-none-match");
    if (!condition || strcmp(condition, "*") || !*found(&objects, key, NULL)) return 0;
    refuse(answer, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
    return 1;
}

static void keep(Thing *thing) {
    Thing **at = found(&objects, thing->key, NULL);
    if (*at) drop(at);
    thing->next = objects;
    objects = thing;
}

static void put_object(const Request *request, Answer *answer, const char *key) {
    char crc[24];
    count("PutObject");
    if (!is_whole(request, answer, crc) || is_taken(request, answer, key)) return;
    Thing *thing = new_thing(request, key);
    thing->size = request->size;
    hex_of(request->md5, 16, thing->etag);
    if (*request->told_crc) {
        strcpy(thing->crc, crc);
        strcpy(thing->kind, "FULL_OBJECT");
        text_add(&answer->headers, "x-amz-checksum-crc32: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\n", crc);
    }
    if (request->size <= KEPT) {
        thing->kept = malloc(request->size + 1);
        memcpy(thing->kept, request->kept, request->size);
    }
    text_add(&answer->headers, "ETag: \"%s\"\r\n", thing->etag);
    tell_encryption(request, answer);
    keep(thing);
}

static void read_object(const Request *request, Answer *answer, const char *key, int body) {
    Thing *thing = *found(&objects, key, NULL);
    char etag[sizeof thing->etag + 4];
    count(body ? "GetObject" : "HeadObject");
    if (!thing) {
        refuse(answer, 404, "NoSuchKey", "The specified key does not exist.");
        if (!body) answer->body.size = 0;
        return;
    }
    const char *wanted = header(request, "if-match");
    snprintf(etag, sizeof etag, "\"%s\"", thing->etag);
    if (wanted && strcmp(wanted, etag)) {
        refuse(answer, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
        return;
    }
    if (body && !thing->kept) {
        refuse(answer, 501, "NotImplemented", "This server forgets the bytes of large objects.");
        return;
    }
    char date[64];
    struct tm when;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&thing->at, &when));
    text_add(&answer->headers, "%sETag: %s\r\nLast-Modified: %s\r\nAccept-Ranges: bytes\r\n", thing->headers, etag, date);
    if (*thing->crc && header(request, "x-amz-checksum-mode"))
        text_add(&answer->headers, "x-amz-checksum-crc32: %s\r\nx-amz-checksum-type: %s\r\n", thing->crc, thing->kind);
    answer->length = thing->size;
    for (uint64_t i = 0; body && i < thing->size; i++) text_add(&answer->body, "%c", thing->kept[i]);
}

static void create_upload(const Request *request, Answer *answer, const char *bucket, const char *key) {
    const char *algorithm = header(request, "x-amz-checksum-algorithm"), *type = header(request, "x-amz-checksum-type");
    Thing *upload = new_thing(request, key);
    count("CreateMultipartUpload");
    snprintf(upload->id, sizeof upload->id, "upload-%08lx", ++made);
    upload->checksummed = algorithm && !strcasecmp(algorithm, "CRC32");
    upload->whole = type && !strcasecmp(type, "FULL_OBJECT");
    upload->next = uploads;
    uploads = upload;
    if (upload->checksummed)
        text_add(&answer->headers, "x-amz-checksum-algorithm: CRC32\r\nx-amz-checksum-type: %s\r\n",
                 upload->whole ? "FULL_OBJECT" : "COMPOSITE");
    tell_encryption(request, answer);
    xml(answer, "InitiateMultipartUploadResult");
    text_xml(&answer->body, "Bucket", bucket, 0);
    text_xml(&answer->body, "Key", key, 0);
    text_add(&answer->body, "<UploadId>%s</UploadId></InitiateMultipartUploadResult>", upload->id);
}

static Thing **open_upload(Answer *answer, const char *key, const char *id) {
    Thing **at = found(&uploads, key, id);
    if (!*at) refuse(answer, 404, "NoSuchUpload", "The specified upload does not exist.");
    return *at ? at : NULL;
}

static void put_part(const Request *request, Answer *answer, const char *key, const char *id, int number) {
    Thing **at = open_upload(answer, key, id);
    char crc[24], etag[40];
    count("UploadPart");
    if (!at || !is_whole(request, answer, crc)) return;
    if (number < 1 || number > MOST_PARTS) {
        refuse(answer, 400, "InvalidArgument", "Part number must be an integer between 1 and 10000");
        return;
    }
    Thing *upload = *at;
    if (!upload->parts) upload->parts = calloc(MOST_PARTS + 1, sizeof(Part));
    Part *part = &upload->parts[number];
    *part = (Part){.size = request->size, .crc = request->crc, .there = 1};
    memcpy(part->md5, request->md5, 16);
    if (number > upload->last) upload->last = number;
    hex_of(part->md5, 16, etag);
    text_add(&answer->headers, "ETag: \"%s\"\r\n", etag);
    if (*request->told_crc) text_add(&answer->headers, "x-amz-checksum-crc32: %s\r\n", crc);
    tell_encryption(request, answer);
}

static void list_parts(Answer *answer, const Request *request, const char *bucket, const char *key, const char *id) {
    Thing **at = open_upload(answer, key, id);
    char value[32], etag[40], crc[24];
    count("ListParts");
    if (!at) return;
    Thing *upload = *at;
    int number = query(request, "part-number-marker", value, sizeof value) ? atoi(value) : 0;
    int most = query(request, "max-parts", value, sizeof value) ? atoi(value) : 1000, told = 0, last = number;
    xml(answer, "ListPartsResult");
    text_xml(&answer->body, "Bucket", bucket, 0);
    text_xml(&answer->body, "Key", key, 0);
    text_add(&answer->body, "<UploadId>%s</UploadId><MaxParts>%d</MaxParts><PartNumberMarker>%d</PartNumberMarker>", id, most, number);
    for (number++; upload->parts && number <= upload->last && told < most; number++) {
        Part *part = &upload->parts[number];
        if (!part->there) continue;
        hex_of(part->md5, 16, etag);
        crc_text(part->crc, crc);
        text_add(&answer->body,
                 "<Part><PartNumber>%d</PartNumber><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"%s\"</ETag>"
                 "<Size>%llu</Size>", number, etag, (unsigned long long)part->size);
        if (upload->checksummed) text_add(&answer->body, "<ChecksumCRC32>%s</ChecksumCRC32>", crc);
        text_add(&answer->body, "</Part>");
        told++, last = number;
    }
    text_add(&answer->body, "<NextPartNumberMarker>%d</NextPartNumberMarker><IsTruncated>%s</IsTruncated></ListPartsResult>",
             last, last < upload->last && told == most ? "true" : "false");
}

/* Join the parts that the XML names; null, and refused, where one is not as it says. */
static Thing *joined(const Request *request, Answer *answer, Thing *upload) {
    Thing *thing = new_thing(request, upload->key);
    char value[64], etag[40], crc[24];
    Md5 md5s;
    uint32_t whole = 0, of_crcs = 0;
    int parts = 0;
    md5_begin(&md5s);
    for (const char *at = request->xml; at && (at = strstr(at, "<Part>"));) {
        const char *end = strstr(at, "</Part>");
        if (!end) break;
        char *one = strndup(at, (size_t)(end - at));
        int number = xml_value(one, "PartNumber", value, sizeof value) ? atoi(value) : 0;
        Part *part = upload->parts && number > 0 && number <= upload->last ? &upload->parts[number] : NULL;
        int fits = part && part->there && xml_value(one, "ETag", value, sizeof value) != NULL;
        if (fits) hex_of(part->md5, 16, etag), fits = !strcmp(value, etag);
        if (fits) crc_text(part->crc, crc);
        if (fits && xml_value(one, "ChecksumCRC32", value, sizeof value)) fits = !strcmp(value, crc);
        free(one);
        if (!fits) {
            refuse(answer, 400, "InvalidPart", "One or more of the specified parts could not be found.");
            free(thing->key), free(thing->headers), free(thing);
            return NULL;
        }
        unsigned char bytes[4] = {(unsigned char)(part->crc >> 24), (unsigned char)(part->crc >> 16), (unsigned char)(part->crc >> 8), (unsigned char)part->crc};
        md5_feed(&md5s, part->md5, 16);
        whole = parts ? crc32_joined(whole, part->crc, part->size) : part->crc;
        of_crcs = crc32_of(of_crcs, bytes, 4);
        thing->size += part->size;
        parts++;
        at = end;
    }
    unsigned char digest[16];
    md5_end(&md5s, digest);
    hex_of(digest, 16, thing->etag);
    sprintf(thing->etag + 32, "-%d", parts);
    crc_text(upload->whole ? whole : of_crcs, thing->crc);
    if (!upload->whole) sprintf(thing->crc + strlen(thing->crc), "-%d", parts);
    strcpy(thing->kind, upload->whole ? "FULL_OBJECT" : "COMPOSITE");
    return thing;
}

static void complete(const Request *request, Answer *answer, const char *bucket, const char *key, const char *id) {
    Thing **at = open_upload(answer, key, id);
    count("CompleteMultipartUpload");
    if (!at || is_taken(request, answer, key)) return;
    Thing *thing = joined(request, answer, *at);
    const char *told = header(request, "x-amz-checksum-crc32");
    if (!thing) return;
    if (told && (*at)->whole && strcmp(told, thing->crc)) {
        refuse(answer, 400, "BadDigest", "The checksum you specified did not match the calculated checksum.");
        free(thing->key), free(thing->headers), free(thing);
        return;
    }
    free(thing->headers);
    thing->headers = strdup((*at)->headers);
    if (!(*at)->checksummed) thing->crc[0] = 0;
    drop(at);
    xml(answer, "CompleteMultipartUploadResult");
    text_xml(&answer->body, "Bucket", bucket, 0);
    text_xml(&answer->body, "Key", key, 0);
    text_add(&answer->body, "<ETag>\"%s\"</ETag>", thing->etag);
    if (*thing->crc)
        text_add(&answer->body, "<ChecksumCRC32>%s</ChecksumCRC32><ChecksumType>%s</ChecksumType>", thing->crc, thing->kind);
    text_add(&answer->body, "</CompleteMultipartUploadResult>");
    keep(thing);
}

static int by_key(const void *one, const void *other) {
    return strcmp((*(Thing *const *)one)->key, (*(Thing *const *)other)->key);
}

static void list_objects(const Request *request, Answer *answer, const char *bucket) {
    char prefix[2048] = "", after[2048] = "", value[64];
    int most = query(request, "max-keys", value, sizeof value) ? atoi(value) : 1000, told = 0, more = 0;
    int as_url = query(request, "encoding-type", value, sizeof value) != NULL;
    Thing **all = NULL, *last = NULL;
    size_t size = 0;
    count("ListObjectsV2");
    query(request, "prefix", prefix, sizeof prefix);
    if (!query(request, "continuation-token", after, sizeof after)) query(request, "start-after", after, sizeof after);
    for (Thing *one = objects; one; one = one->next) {
        if (strncmp(one->key, prefix, strlen(prefix)) || strcmp(one->key, after) <= 0) continue;
        if (!(size & (size - 1))) all = realloc(all, (size ? 2 * size : 1) * sizeof *all);
        all[size++] = one;
    }
    if (size) qsort(all, size, sizeof *all, by_key);
    xml(answer, "ListBucketResult");
    text_xml(&answer->body, "Name", bucket, 0);
    text_xml(&answer->body, "Prefix", prefix, as_url);
    for (size_t i = 0; i < size; i++) {
        if (told == most) {
            more = 1;
            break;
        }
        char date[40];
        struct tm when;
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&all[i]->at, &when));
        text_add(&answer->body, "<Contents>");
        text_xml(&answer->body, "Key", all[i]->key, as_url);
        text_add(&answer->body, "<LastModified>%s</LastModified><ETag>\"%s\"</ETag><Size>%llu</Size><StorageClass>STANDARD</StorageClass></Contents>",
                 date, all[i]->etag, (unsigned long long)all[i]->size);
        last = all[i], told++;
    }
    text_add(&answer->body, "<KeyCount>%d</KeyCount><MaxKeys>%d</MaxKeys><IsTruncated>%s</IsTruncated>", told, most, more ? "true" : "false");
    if (more) text_xml(&answer->body, "NextContinuationToken", last->key, 0);
    if (as_url) text_add(&answer->body, "<EncodingType>url</EncodingType>");
    text_add(&answer->body, "</ListBucketResult>");
    free(all);
}

static void list_uploads(const Request *request, Answer *answer, const char *bucket) {
    char prefix[2048] = "";
    count("ListMultipartUploads");
    query(request, "prefix", prefix, sizeof prefix);
    xml(answer, "ListMultipartUploadsResult");
    text_xml(&answer->body, "Bucket", bucket, 0);
    text_xml(&answer->body, "Prefix", prefix, 0);
    for (Thing *one = uploads; one; one = one->next) {
        if (strncmp(one->key, prefix, strlen(prefix))) continue;
        text_add(&answer->body, "<Upload>");
        text_xml(&answer->body, "Key", one->key, 0);
        text_add(&answer->body, "<UploadId>%s</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>", one->id);
    }
    text_add(&answer->body, "<MaxUploads>1000</MaxUploads><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>");
}

/* What the bench itself asks: counts so far, or to forget everything. */
static void about_sink(const Request *request, Answer *answer) {
    if (!strcmp(request->path, "/-/reset")) {
        while (objects) drop(&objects);
        while (uploads) drop(&uploads);
        memset(counts, 0, sizeof counts);
        body_bytes = 0;
    }
    text_add(&answer->headers, "Content-Type: application/json\r\n");
    text_add(&answer->body, "{\"body_bytes\": %llu", (unsigned long long)body_bytes);
    for (int i = 0; i < 24 && counts[i].op; i++) text_add(&answer->body, ", \"%s\": %lu", counts[i].op, counts[i].count);
    text_add(&answer->body, "}\n");
}

static void about_bucket(const Request *request, Answer *answer, const char *bucket) {
    char value[64];
    int get = !strcmp(request->method, "GET");
    if (get && query(request, "uploads", value, sizeof value))
        list_uploads(request, answer, bucket);
    else if (get && query(request, "location", value, sizeof value)) {
        count("GetBucketLocation");
        xml(answer, "LocationConstraint");
        text_add(&answer->body, "us-east-1</LocationConstraint>");
    } else if (get && (!*request->query || query(request, "list-type", value, sizeof value) || query(request, "prefix", value, sizeof value)))
        list_objects(request, answer, bucket);
    else if (!*request->query && (!strcmp(request->method, "HEAD") || !strcmp(request->method, "PUT")))
        count("Bucket");
    else
        count("Other"), refuse(answer, 501, "NotImplemented", "A header or query implies functionality that is not implemented.");
}

static void about_object(const Request *request, Answer *answer, const char *bucket, const char *key) {
    char id[64], number[16];
    const char *method = request->method;
    int of_upload = query(request, "uploadId", id, sizeof id) != NULL;
    if (header(request, "x-amz-copy-source"))
        count("Copy"), refuse(answer, 501, "NotImplemented", "This server forgets bytes: it copies none.");
    else if (!strcmp(method, "PUT") && of_upload && query(request, "partNumber", number, sizeof number))
        put_part(request, answer, key, id, atoi(number));
    else if (!strcmp(method, "PUT"))
        put_object(request, answer, key);
    else if (!strcmp(method, "POST") && of_upload)
        complete(request, answer, bucket, key, id);
    else if (!strcmp(method, "POST"))
        create_upload(request, answer, bucket, key);
    else if (!strcmp(method, "GET") && of_upload)
        list_parts(answer, request, bucket, key, id);
    else if (!strcmp(method, "DELETE")) {
        Thing **at = of_upload ? open_upload(answer, key, id) : found(&objects, key, NULL);
        count(of_upload ? "AbortMultipartUpload" : "DeleteObject");
        if (at && *at) drop(at);
        if (!of_upload || at) answer->status = 204;
    } else
        read_object(request, answer, key, !strcmp(method, "GET"));
}

void answer_to(const Request *request, Answer *answer) {
    pthread_mutex_lock(&lock);
    const char *slash = strchr(request->path + 1, '/');
    char *bucket = percent_decoded(request->path + 1, slash ? (size_t)(slash - request->path - 1) : strlen(request->path + 1));
    char *key = slash ? percent_decoded(slash + 1, strlen(slash + 1)) : strdup("");
    asked++;
    body_bytes += request->size;
    text_add(&answer->headers, "x-amz-request-id: %016lX\r\nx-amz-id-2: sink\r\n", asked);
    if (!strcmp(bucket, "-"))
        about_sink(request, answer);
    else if (*key)
        about_object(request, answer, bucket, key);
    else
        about_bucket(request, answer, bucket);
    free(bucket), free(key);
    pthread_mutex_unlock(&lock);
}
