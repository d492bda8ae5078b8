/* MD5 (RFC 1321), CRC-32 (ISO-HDLC) of a whole and of parts that are joined, base64. */
#include "sink.h"

#include <math.h>
#include <string.h>

enum { SLICES = 16 };
static const uint32_t POLYNOMIAL = 0xEDB88320u;
static uint32_t table[SLICES][256], sines[64];
static const unsigned char turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

void hashes_begin(void) {
    for (int i = 0; i < 64; i++) sines[i] = (uint32_t)(int64_t)floor(fabs(sin(i + 1.0)) * 4294967296.0);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        table[0][i] = crc;
    }
    for (int slice = 1; slice < SLICES; slice++)
        for (int i = 0; i < 256; i++)
            table[slice][i] = table[slice - 1][i] >> 8 ^ table[0][table[slice - 1][i] & 0xff];
}

void md5_begin(Md5 *md5) {
    static const uint32_t first[4] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u};
    memcpy(md5->state, first, sizeof first);
    md5->size = 0;
}

#define TURN(x, n) ((x) << (n) | (x) >> (32 - (n)))
#define STEP(f, a, b, c, d, i, word, n) \
    a += (f) + sines[i] + word;         \
    a = TURN(a, n) + b;

static void md5_block(uint32_t state[4], const unsigned char *block) {
    uint32_t w[16], a = state[0], b = state[1], c = state[2], d = state[3];
    memcpy(w, block, 64); /* little endian, as all that this runs on */
#define FOUR(f1, f2, f3, f4, r, i, g)                                  \
    STEP(f1, a, b, c, d, i, w[g(i) & 15], turns[r][0])                 \
    STEP(f2, d, a, b, c, i + 1, w[g((i + 1)) & 15], turns[r][1])       \
    STEP(f3, c, d, a, b, i + 2, w[g((i + 2)) & 15], turns[r][2])       \
    STEP(f4, b, c, d, a, i + 3, w[g((i + 3)) & 15], turns[r][3])
#define F(x, y, z) (z ^ (x & (y ^ z)))
#define G(x, y, z) (y ^ (z & (x ^ y)))
#define H(x, y, z) (x ^ y ^ z)
#define I(x, y, z) (y ^ (x | ~z))
#define ROUND(f, r, g)                                                                             \
    _Pragma("GCC unroll 4") for (int i = 16 * r; i < 16 * r + 16; i += 4) {                        \
        FOUR(f(b, c, d), f(a, b, c), f(d, a, b), f(c, d, a), r, i, g)                              \
    }
#define W0(i) (i)
#define W1(i) (5 * (i) + 1)
#define W2(i) (3 * (i) + 5)
#define W3(i) (7 * (i))
    ROUND(F, 0, W0)
    ROUND(G, 1, W1)
    ROUND(H, 2, W2)
    ROUND(I, 3, W3)
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

void md5_feed(Md5 *md5, const unsigned char *data, size_t size) {
    size_t held = md5->size & 63;
    md5->size += size;
    if (held) {
        size_t more = 64 - held < size ? 64 - held : size;
        memcpy(md5->block + held, data, more);
        data += more, size -= more;
        if (held + more < 64) return;
        md5_block(md5->state, md5->block);
    }
    for (; size >= 64; data += 64, size -= 64) md5_block(md5->state, data);
    memcpy(md5->block, data, size);
}

void md5_end(Md5 *md5, unsigned char digest[16]) {
    uint64_t bits = md5->size * 8;
    size_t held = md5->size & 63;
    unsigned char end[128] = {0x80};
    size_t size = (held < 56 ? 56 : 120) - held;
    memcpy(end + size, &bits, 8);
    md5_feed(md5, end, size + 8);
    memcpy(digest, md5->state, 16);
}

uint32_t crc32_of(uint32_t crc, const unsigned char *data, size_t size) {
    crc = ~crc;
    for (; size >= SLICES; data += SLICES, size -= SLICES) {
        uint32_t w[4];
        memcpy(w, data, 16);
        w[0] ^= crc;
        crc = 0;
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) crc ^= table[15 - 4 * i - j][w[i] >> 8 * j & 0xff];
    }
    for (; size; data++, size--) crc = crc >> 8 ^ table[0][(crc ^ *data) & 0xff];
    return ~crc;
}

static uint32_t product(uint32_t a, uint32_t b) {
    uint32_t sum = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        if (a & bit) sum ^= b;
        b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
    }
    return sum;
}

uint32_t crc32_joined(uint32_t first, uint32_t second, uint64_t second_size) {
    uint32_t power = 1u << 31, square = 1u << 30;
    for (uint64_t n = 8 * second_size; n; n >>= 1) {
        if (n & 1) power = product(square, power);
        square = product(square, square);
    }
    return product(power, first) ^ second;
}

void base64_of(const unsigned char *data, size_t size, char *text) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t three = (uint32_t)data[i] << 16;
        if (i + 1 < size) three |= (uint32_t)data[i + 1] << 8;
        if (i + 2 < size) three |= data[i + 2];
        *text++ = letters[three >> 18];
        *text++ = letters[three >> 12 & 63];
        *text++ = i + 1 < size ? letters[three >> 6 & 63] : '=';
        *text++ = i + 2 < size ? letters[three & 63] : '=';
    }
    *text = 0;
}

void hex_of(const unsigned char *data, size_t size, char *text) {
    for (size_t i = 0; i < size; i++) {
        *text++ = "0123456789abcdef"[data[i] >> 4];
        *text++ = "0123456789abcdef"[data[i] & 15];
    }
    *text = 0;
}
