// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/merged_directory.h"

#include <dirent.h>
#include <tbb/parallel_for_each.h>

#include <bit>
#include <cstring>
#include <functional>
#include <optional>

#include "sys/dirents.h"

namespace plyfs {

// What one branch gave, before the branches are merged.
struct MergedDirectory::Part {
    explicit Part(sys::DirectoryReader opened) : reader(std::move(opened)) {}

    void keep(bool (*hides)(std::string_view)) {
        reader.for_each([&](const sys::RawEntry& raw) {
            const std::string_view name(raw.name);
            if (hides != nullptr && hides(name)) return;
            entries.push_back({raw.inode, static_cast<std::uint32_t>(names.size()),
                               static_cast<std::uint16_t>(name.size()), 0, raw.type, false});
            names.insert(names.end(), name.data(), name.data() + name.size() + 1);
        });
    }

    void read_once(bool (*hides)(std::string_view)) {
        const Result<bool> more = reader.fill();
        if (!more) error = more.error();
        ended = !more || !*more;
        keep(hides);
    }

    // Reads to the end.
    void read_on(bool (*hides)(std::string_view)) {
        while (!ended) read_once(hides);
    }

    sys::DirectoryReader reader;
    std::vector<Entry> entries;
    std::vector<char> names;
    std::optional<Errno> error;
    bool ended = false;
};

namespace {

constexpr std::uint32_t kFree = UINT32_MAX;

std::uint32_t& slot_of(std::vector<std::uint32_t>& table, std::string_view name, auto&& equals) {
    const std::size_t mask = table.size() - 1;
    std::size_t at = std::hash<std::string_view>()(name) & mask;
    while (table[at] != kFree && !equals(table[at])) at = (at + 1) & mask;
    return table[at];
}

}  // namespace

void MergedDirectory::add(const Part& part, BranchIndex branch, std::vector<std::uint32_t>& table) {
    for (Entry entry : part.entries) {
        const std::string_view found(part.names.data() + entry.name_at, entry.name_size);
        std::uint32_t& slot = slot_of(
            table, found, [&](std::uint32_t index) { return name(entries_[index]) == found; });
        if (slot != kFree) {
            entries_[slot].several = true;
            continue;
        }
        slot = static_cast<std::uint32_t>(entries_.size());
        entry.name_at = static_cast<std::uint32_t>(names_.size());
        entry.branch = branch;
        names_.insert(names_.end(), found.data(), found.data() + found.size() + 1);
        entries_.push_back(entry);
    }
}

Result<MergedDirectory> MergedDirectory::read(std::span<const Source> sources,
                                              bool (*hides)(std::string_view)) {
    std::vector<Part> parts;
    parts.reserve(sources.size());
    std::vector<Part*> unfinished;
    for (const Source& source : sources) {
        Part& part = parts.emplace_back(
            TRY(sys::DirectoryReader::open(source.directory, source.spare_access_time)));
        // Most directories end within the first buffer, which the second call tells: handing those
        // to other threads would cost more than reading them.
        part.read_once(hides);
        if (!part.ended && part.reader.nearly_ended()) part.read_once(hides);
        if (!part.ended) unfinished.push_back(&part);
    }
    if (unfinished.size() > 1) {
        tbb::parallel_for_each(unfinished, [&](Part* part) { part->read_on(hides); });
    } else if (unfinished.size() == 1) {
        unfinished.front()->read_on(hides);
    }

    std::size_t total = 0;
    for (const Part& part : parts) {
        if (part.error) return fail(*part.error);
        total += part.entries.size();
    }
    MergedDirectory merged;
    if (parts.size() == 1) {
        merged.entries_ = std::move(parts.front().entries);
        merged.names_ = std::move(parts.front().names);
        for (Entry& entry : merged.entries_) entry.branch = sources.front().branch;
        return merged;
    }
    std::vector<std::uint32_t> table(std::bit_ceil(total * 2 + 1), kFree);
    merged.entries_.reserve(total);
    for (std::size_t index = 0; index < parts.size(); ++index) {
        merged.add(parts[index], sources[index].branch, table);
    }
    return merged;
}

}  // namespace plyfs
