// SPDX-License-Identifier: GPL-2.0-or-later
//
// Counts copy-ups. Thread-safe, by relaxed atomics: a copy-up takes some hundred microseconds.
#pragma once

#include <atomic>

#include "copyup/data.h"
#include "union/counts.h"

namespace plyfs {

class CopyUpCounters {
public:
    // One copy-up, from here to the end of the scope: a failure unless made() or filled() was
    // called.
    class Attempt {
    public:
        explicit Attempt(CopyUpCounters& counters) noexcept : counters_(counters) {
            add(counters_.running_);
        }
        Attempt(const Attempt&) = delete;
        Attempt& operator=(const Attempt&) = delete;
        ~Attempt() {
            counters_.running_.fetch_sub(1, std::memory_order_relaxed);
            if (!succeeded_) add(counters_.failed_);
        }

        // A copy is in place; `metadata_only`: it lacks the data that the file has.
        void made(bool metadata_only) noexcept {
            succeeded_ = true;
            add(counters_.made_);
            if (metadata_only) add(counters_.metadata_only_);
        }
        // A copy that lacked its data has them.
        void filled() noexcept {
            succeeded_ = true;
            add(counters_.filled_);
        }

    private:
        CopyUpCounters& counters_;
        bool succeeded_ = false;
    };

    // Data of a copy that is being made.
    void copied(const copyup::CopiedData& data) noexcept {
        if (data.origin == copyup::DataOrigin::Cloned) {
            add(cloned_);
            add(bytes_cloned_, data.bytes);
        } else {
            add(bytes_copied_, data.bytes);
        }
    }

    CopyUpCounts counts() const noexcept {
        return {get(made_),         get(metadata_only_), get(filled_), get(cloned_),
                get(bytes_cloned_), get(bytes_copied_),  get(failed_), get(running_)};
    }

private:
    using Counter = std::atomic<std::uint64_t>;
    static void add(Counter& counter, std::uint64_t number = 1) noexcept {
        counter.fetch_add(number, std::memory_order_relaxed);
    }
    static std::uint64_t get(const Counter& counter) noexcept {
        return counter.load(std::memory_order_relaxed);
    }

    Counter made_{0};
    Counter metadata_only_{0};
    Counter filled_{0};
    Counter cloned_{0};
    Counter bytes_cloned_{0};
    Counter bytes_copied_{0};
    Counter failed_{0};
    Counter running_{0};
};

}  // namespace plyfs
