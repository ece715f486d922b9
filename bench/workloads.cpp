// SPDX-License-Identifier: GPL-2.0-or-later
#include "workloads.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <random>
#include <vector>

#include "files.h"

namespace plyfs::bench {
namespace {

constexpr std::size_t kFiles = 2000;
constexpr std::size_t kBigMebibytes = 256;
constexpr std::size_t kCopiedMebibytes = 1024;
constexpr std::size_t kBlocks = 20'000;  // of 4 KiB, at random places of the big file
constexpr std::size_t kBlock = 4096;
constexpr std::size_t kMebi = std::size_t{1} << 20;

std::string file_name(const std::string& directory, std::size_t number, char kind = 'f') {
    return fmt::format("{}/{}{}", directory, kind, number);
}

template <typename Action>
void each(const std::string& directory, Action&& action) {
    for (std::size_t i = 0; i < kFiles; ++i) action(file_name(directory, i));
}

void make_files(const std::string& directory) {
    each(directory, [](const std::string& path) { write_file(path, kBlock); });
}

std::string big_file(const std::string& directory) {
    return directory + "/big";
}

void make_big_file(const std::string& directory) {
    write_file(big_file(directory), kBigMebibytes * kMebi);
    const UniqueFd file = open_file(big_file(directory), O_RDONLY);
    if (::fsync(file.get()) != 0) die("fsync");
}

void read_to_end(const UniqueFd& file, std::vector<char>& buffer, std::size_t expected) {
    std::size_t total = 0;
    for (ssize_t got = 1; got > 0; total += static_cast<std::size_t>(got)) {
        got = ::read(file.get(), buffer.data(), buffer.size());
        if (got < 0) die("read");
    }
    if (total != expected) die("read too little");
}

// The same places in every run.
template <typename Action>
void at_random_blocks(const std::string& directory, int flags, Action&& action) {
    const UniqueFd file = open_file(big_file(directory), flags);
    std::array<char, kBlock> block{};
    std::mt19937 random(1);
    std::uniform_int_distribution<std::size_t> place(0, kBigMebibytes * kMebi / kBlock - 1);
    for (std::size_t i = 0; i < kBlocks; ++i) {
        const auto offset = static_cast<off_t>(place(random) * kBlock);
        if (action(file.get(), block, offset) != static_cast<ssize_t>(kBlock)) die("block");
    }
}

void nothing(const std::string& /*directory*/) {}

const std::array<Workload, 15> kWorkloads{{
    {"create and close", "us", kFiles, nothing,
     [](const std::string& directory) {
         each(directory,
              [](const std::string& path) { open_file(path, O_CREAT | O_EXCL | O_WRONLY); });
     }},
    {"create and write 4 KiB", "us", kFiles, nothing, make_files},
    {"open and close", "us", kFiles, make_files,
     [](const std::string& directory) {
         each(directory, [](const std::string& path) { open_file(path, O_RDONLY); });
     }},
    {"open, read 4 KiB, close", "us", kFiles, make_files,
     [](const std::string& directory) {
         std::vector<char> buffer(2 * kBlock);
         each(directory, [&](const std::string& path) {
             read_to_end(open_file(path, O_RDONLY), buffer, kBlock);
         });
     }},
    {"stat", "us", kFiles, make_files,
     [](const std::string& directory) { each(directory, stat_file); }},
    {"stat of a missing name", "us", kFiles, nothing,
     [](const std::string& directory) { each(directory, stat_missing); }},
    {"the same once more", "us", kFiles,
     [](const std::string& directory) { each(directory, stat_missing); },
     [](const std::string& directory) { each(directory, stat_missing); }},
    {"chmod", "us", kFiles, make_files,
     [](const std::string& directory) {
         each(directory, [](const std::string& path) { change_mode(path, 0600); });
     }},
    {"rename", "us", kFiles, make_files,
     [](const std::string& directory) {
         for (std::size_t i = 0; i < kFiles; ++i) {
             rename_file(file_name(directory, i), file_name(directory, i, 'r'));
         }
     }},
    {"unlink", "us", kFiles, make_files,
     [](const std::string& directory) { each(directory, remove_file); }},
    {"list 2,000 names", "us", 20, make_files,
     [](const std::string& directory) {
         for (int i = 0; i < 20; ++i) list_directory(directory, kFiles + 2);
     }},
    {"write 1 MiB blocks", "MiB/s", kBigMebibytes, nothing,
     [](const std::string& directory) { write_file(big_file(directory), kBigMebibytes * kMebi); }},
    {"read 1 MiB blocks", "MiB/s", kBigMebibytes, make_big_file,
     [](const std::string& directory) {
         std::vector<char> buffer(kMebi);
         read_to_end(open_file(big_file(directory), O_RDONLY), buffer, kBigMebibytes * kMebi);
     }},
    {"read 4 KiB at random", "us", kBlocks, make_big_file,
     [](const std::string& directory) {
         at_random_blocks(directory, O_RDONLY, [](int file, auto& block, off_t offset) {
             return ::pread(file, block.data(), block.size(), offset);
         });
     }},
    {"write 4 KiB at random", "us", kBlocks, make_big_file,
     [](const std::string& directory) {
         at_random_blocks(directory, O_WRONLY, [](int file, auto& block, off_t offset) {
             return ::pwrite(file, block.data(), block.size(), offset);
         });
     }},
}};

void open_to_append(const std::string& path) {
    (void)open_file(path, O_WRONLY | O_APPEND);
}

void make_sparse_file(const std::string& directory) {
    write_file(big_file(directory), kMebi);
    const UniqueFd file = open_file(big_file(directory), O_WRONLY);
    if (::ftruncate(file.get(), off_t{kCopiedMebibytes * kMebi}) != 0) die("ftruncate");
}

const std::array<Workload, 4> kCopyUps{{
    {"append to 4 KiB files", "us", kFiles, make_files,
     [](const std::string& directory) { each(directory, open_to_append); }},
    {"chmod 4 KiB files", "us", kFiles, make_files,
     [](const std::string& directory) {
         each(directory, [](const std::string& path) { change_mode(path, 0600); });
     }},
    {"append to 1 GiB", "MiB/s", kCopiedMebibytes,
     [](const std::string& directory) {
         write_file(big_file(directory), kCopiedMebibytes * kMebi);
     },
     [](const std::string& directory) { open_to_append(big_file(directory)); }},
    {"append to 1 GiB, a hole", "us", 1, make_sparse_file,
     [](const std::string& directory) { open_to_append(big_file(directory)); }},
}};

}  // namespace

std::span<const Workload> workloads() {
    return kWorkloads;
}

std::span<const Workload> copy_ups() {
    return kCopyUps;
}

}  // namespace plyfs::bench
