// A matrix product as llama.cpp computes it, a given number of times on one thread: the weights lie in
// the layout that ggml itself prefers for their type on this processor. Nothing is printed; whoever
// counts instructions takes the difference of two runs.
//
//     product TYPE ROWS COLS BATCH CALLS

#include <cstdio>
#include <cstdlib>
#include <strings.h>
#include <vector>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

static ggml_type type_named(const char * name) {
    for (int type = 0; type < GGML_TYPE_COUNT; type++) {
        const char * known = ggml_type_name((ggml_type) type);
        if (known && strcasecmp(known, name) == 0) {
            return (ggml_type) type;
        }
    }
    fprintf(stderr, "product: no type is called %s\n", name);
    exit(2);
}

// The first of the processor's special layouts that takes the weights of `product`, else the plain one.
static ggml_backend_buffer_type_t layout_for(ggml_backend_dev_t cpu, ggml_tensor * weights, ggml_tensor * product) {
    ggml_backend_reg_t registry = ggml_backend_dev_backend_reg(cpu);
    void * address = ggml_backend_reg_get_proc_address(registry, "ggml_backend_dev_get_extra_bufts");
    if (address) {
        auto * layouts = ((ggml_backend_dev_get_extra_bufts_t) address)(cpu);
        for (; layouts && *layouts; layouts++) {
            weights->buffer = ggml_backend_buft_alloc_buffer(*layouts, 0);
            bool taken = ggml_backend_dev_supports_op(cpu, product);
            ggml_backend_buffer_free(weights->buffer);
            weights->buffer = nullptr;
            if (taken) {
                return *layouts;
            }
        }
    }
    return ggml_backend_cpu_buffer_type();
}

static void place(ggml_tensor * tensor, ggml_backend_buffer_type_t layout) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(layout, ggml_backend_buft_get_alloc_size(layout, tensor));
    ggml_backend_tensor_alloc(buffer, tensor, ggml_backend_buffer_get_base(buffer));
    std::vector<char> zeros(ggml_nbytes(tensor));
    ggml_backend_tensor_set(tensor, zeros.data(), 0, zeros.size());
}

int main(int argc, char ** argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: product TYPE ROWS COLS BATCH CALLS\n");
        return 2;
    }
    ggml_type type = type_named(argv[1]);
    long rows = atol(argv[2]), cols = atol(argv[3]), batch = atol(argv[4]), calls = atol(argv[5]);

    ggml_context * context = ggml_init({ 1 << 20, nullptr, true });
    ggml_tensor * weights = ggml_new_tensor_2d(context, type, cols, rows);
    ggml_tensor * input = ggml_new_tensor_2d(context, GGML_TYPE_F32, cols, batch);
    ggml_tensor * product = ggml_mul_mat(context, weights, input);
    ggml_cgraph * graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, product);

    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_buffer_type_t layout = layout_for(cpu, weights, product);
    fprintf(stderr, "layout %s\n", ggml_backend_buft_name(layout));
    place(weights, layout);
    place(input, ggml_backend_cpu_buffer_type());
    place(product, ggml_backend_cpu_buffer_type());

    ggml_backend_t backend = ggml_backend_dev_init(cpu, nullptr);
    ggml_backend_cpu_set_n_threads(backend, 1);
    for (long call = 0; call < calls; call++) {
        if (ggml_backend_graph_compute(backend, graph) != GGML_STATUS_SUCCESS) {
            return 1;
        }
    }
    return 0;
}
