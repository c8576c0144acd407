// Runs the CUDA source of `gatedrnn.cuda` on a CPU: a thread a CUDA thread, one block after the other.
#include <barrier>
#include <cmath>
#include <cstddef>
#include <memory>
#include <thread>
#include <utility>
#include <vector>
#define __global__
#define __device__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(n)
struct Index { int x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
thread_local Index threadIdx, blockIdx;
Index blockDim;
std::unique_ptr<std::barrier<>> everyone;
#define __syncthreads() everyone->arrive_and_wait()

template <class... A, size_t... I>
void run(void (*kernel)(A...), void** arguments, int columns, int rows, int threads, std::index_sequence<I...>) {
    blockDim.x = threads;
    for (int x = 0; x < columns; x++) for (int y = 0; y < rows; y++) {
        everyone = std::make_unique<std::barrier<>>(threads);
        std::vector<std::thread> pool;
        for (int n = 0; n < threads; n++) pool.emplace_back([=] {
            threadIdx.x = n; blockIdx = {x, y};
            kernel(*static_cast<A*>(arguments[I])...);
        });
        for (auto& thread : pool) thread.join();
    }
}
template <class... A>
void launch(void (*kernel)(A...), void** arguments, int columns, int rows, int threads) {
    run(kernel, arguments, columns, rows, threads, std::index_sequence_for<A...>());
}
