/* Texts that grow, XML and URLs: as little as S3's answers need. */
#include "sink.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_add(Text *text, const char *format, ...) {
    for (;;) {
        va_list given;
        va_start(given, format);
        int size = vsnprintf(text->at + text->size, text->room - text->size, format, given);
        va_end(given);
        if (size >= 0 && text->size + (size_t)size < text->room) {
            text->size += (size_t)size;
            return;
        }
        text->room = 2 * text->room + (size_t)size + 256;
        text->at = realloc(text->at, text->room);
    }
}

void text_xml(Text *text, const char *name, const char *value, int as_url) {
    text_add(text, "<%s>", name);
    for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
        if (as_url && !isalnum(*c) && !strchr("-_.~/", *c))
            text_add(text, "%%%02X", *c);
        else if (strchr("<>&\"", *c))
            text_add(text, "&#%d;", *c);
        else
            text_add(text, "%c", *c);
    }
    text_add(text, "</%s>", name);
}

char *percent_decoded(const char *text, size_t size) {
    char *found = malloc(size + 1), *out = found;
    for (size_t i = 0; i < size; i++) {
        unsigned code;
        if (text[i] == '%' && i + 2 < size && sscanf(text + i + 1, "%2x", &code) == 1)
            *out++ = (char)code, i += 2;
        else
            *out++ = text[i];
    }
    *out = 0;
    return found;
}

/* The text of the next element of that name, without quotes; where it ends, or null. */
const char *xml_value(const char *from, const char *name, char *value, size_t room) {
    char open[64];
    snprintf(open, sizeof open, "<%s>", name);
    const char *at = strstr(from, open);
    if (!at) return NULL;
    at += strlen(open);
    size_t size = 0;
    while (*at && *at != '<') {
        static const char *const quotes[] = {"&quot;", "&#34;", "\""};
        size_t skip = 0;
        for (int i = 0; i < 3 && !skip; i++)
            if (!strncmp(at, quotes[i], strlen(quotes[i]))) skip = strlen(quotes[i]);
        if (!skip && size + 1 < room) value[size++] = *at;
        at += skip ? skip : 1;
    }
    value[size] = 0;
    return at;
}
