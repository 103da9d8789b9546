#include "thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace gfs_sr {

int useful_threads(int requested, std::int64_t cells) {
    const std::int64_t wanted = requested > 0 ? requested : std::max(1U, std::thread::hardware_concurrency());
    return static_cast<int>(std::clamp<std::int64_t>(cells / least_cells_per_thread, 1, wanted));
}

void parallel_for(std::int64_t items, int threads, const std::function<void(std::int64_t)>& body) {
    std::atomic<std::int64_t> next{0};
    std::mutex mutex;  // guards `error`
    std::exception_ptr error;
    const auto work = [&] {
        try {
            for (std::int64_t item = next.fetch_add(1); item < items; item = next.fetch_add(1)) {
                body(item);
            }
        } catch (...) {
            const std::scoped_lock lock(mutex);
            if (!error) {
                error = std::current_exception();
            }
            next.store(items);
        }
    };
    {
        std::vector<std::jthread> workers;  // joined at the end of this block, on every path
        const std::int64_t extra = std::min<std::int64_t>(threads, items) - 1;
        try {
            for (std::int64_t i = 0; i < extra; ++i) {
                workers.emplace_back(work);
            }
        } catch (const std::system_error&) {
            // no more threads to be had: those that started, and this one, do it all
        }
        work();
    }
    if (error) {
        std::rethrow_exception(error);
    }
}

}  // namespace gfs_sr
