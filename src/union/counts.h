// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a union has alive and what it has done since it was made, for statistics and for tests that
// look for leaks. Plain values: each is right for itself, together they are of no one moment.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plyfs {

// Of files, symlinks and special files; directories that are made on other branches do not count.
struct CopyUpCounts {
    std::uint64_t made = 0;           // copies that are in place
    std::uint64_t metadata_only = 0;  // of those: without the data that the file has
    std::uint64_t filled = 0;         // copies without data that have got them later
    std::uint64_t cloned = 0;         // times that data were shared instead of copied
    std::uint64_t bytes_cloned = 0;   // sizes of the files
    std::uint64_t bytes_copied = 0;   // of data, holes not counted
    std::uint64_t failed = 0;         // ended with an error, also by an interrupted caller
    std::uint64_t running = 0;        // now
};

struct UnionCounts {
    // Now.
    std::size_t nodes = 0;
    std::size_t files = 0;
    std::size_t directories = 0;         // open directory handles
    std::size_t cached_directories = 0;  // descriptors
    // Since the union was made.
    std::uint64_t nodes_made = 0;        // the root included
    std::uint64_t nodes_found = 0;       // names that led to a node that was there
    std::uint64_t directory_hits = 0;    // directories of branches that were found open
    std::uint64_t directory_misses = 0;  // and that had to be opened
    CopyUpCounts copy_ups;
};

}  // namespace plyfs
