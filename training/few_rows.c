// y[m][n] = sum over k of x[m][k] * w[n][k], plus bias[n]: a few rows x by a whole matrix w, as decoding multiplies them.
//
// w is laid out in panels [n / PANEL][k][PANEL], which are read once and in order. While the rows, some at a time, go over
// one panel, the next one is fetched: reading and arithmetic overlap. Each number is one chain of fused multiply-adds in
// the order of k, so a row gets the same bits however many rows share the call.
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif
#define VECTORS 2
#define MOST_ROWS 4 // 4 rows x 2 vectors of sums stay in AVX2's 16 registers; 6 were slower
#define PANEL (LANES * VECTORS)
#define CACHE_LINE 64

typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));

int panel_width(void) { return PANEL; }

// `packed` holds (n + PANEL - 1) / PANEL * PANEL * k numbers; the last panel is filled up with zeros.
void lay_out(const float *w, float *packed, long n, long k) {
    for (long first = 0; first < n; first += PANEL)
        for (long i = 0; i < k; i++)
            for (long j = first; j < first + PANEL; j++) *packed++ = j < n ? w[j * k + i] : 0.0f;
}

static inline __attribute__((always_inline)) void rows_by_panel(int rows, const float *x, const float *panel, long k,
                                                                const float *bias, float *y, long n, long width,
                                                                const char *next, long stride) {
    vector sums[MOST_ROWS][VECTORS];
    for (int row = 0; row < rows; row++)
        for (int v = 0; v < VECTORS; v++) sums[row][v] = (vector){0};
    for (long i = 0; i < k; i++, panel += PANEL, next += stride) {
        for (long byte = 0; byte < stride; byte += CACHE_LINE) __builtin_prefetch(next + byte);
        for (int v = 0; v < VECTORS; v++) {
            const vector weights = *(const vector *)(panel + v * LANES);
            for (int row = 0; row < rows; row++) sums[row][v] += x[row * k + i] * weights;
        }
    }
    for (int row = 0; row < rows; row++) {
        float sum[PANEL];
        memcpy(sum, sums[row], sizeof sum);
        for (long j = 0; j < width; j++) y[row * n + j] = bias ? sum[j] + bias[j] : sum[j];
    }
}

void few_rows(const float *x, const float *packed, const float *bias, float *y, long m, long n, long k) {
    const long groups = (m + MOST_ROWS - 1) / MOST_ROWS, height = (m + groups - 1) / groups;
    const long stride = sizeof(float) * PANEL / groups; // of the next panel each group of rows fetches its share
    for (long first = 0; first < n; first += PANEL, packed += k * PANEL) {
        const long width = n - first < PANEL ? n - first : PANEL;
        const char *next = (const char *)(packed + k * PANEL);
        for (long row = 0; row < m; row += height, next += stride * k) {
#define GROUP x + row * k, packed, k, bias ? bias + first : 0, y + row * n + first, n, width, next, stride
            switch (m - row < height ? m - row : height) {
            case 1: rows_by_panel(1, GROUP); break;
            case 2: rows_by_panel(2, GROUP); break;
            case 3: rows_by_panel(3, GROUP); break;
            default: rows_by_panel(4, GROUP);
            }
        }
    }
}
