// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/merged_directory.h"

#include <dirent.h>

#include <bit>
#include <cstring>
#include <functional>
#include <optional>

#include "sys/dirents.h"
#include "sys/parallel.h"
#include "sys/statx.h"

namespace plyfs {

// What one branch gave, before the branches are merged.
struct MergedDirectory::Part {
    Part(sys::DirectoryReader opened, const Source& source)
        : reader(std::move(opened)), directory(source.directory),
          layer(source.layer ? &*source.layer : nullptr) {}

    void keep(bool (*hides)(std::string_view)) {
        reader.for_each([&](const sys::RawEntry& raw) {
            const std::string_view name(raw.name);
            if (hides != nullptr && hides(name)) return;
            if (layer == nullptr) return keep(raw, name, false);
            using Kind = format::EntryKind;
            switch (format::kind_of_entry(name, raw.type, layer->marks, layer->rules)) {
                case Kind::Hidden: break;
                case Kind::DotWhiteout: keep(raw, *format::hidden_by_dot_file(name), true); break;
                case Kind::Object: keep(raw, name, false); break;
                case Kind::Possible: keep(raw, name, is_whiteout(raw.name)); break;
            }
        });
    }

    // `name` is ended by NUL.
    void keep(const sys::RawEntry& raw, std::string_view name, bool whiteout) {
        entries.push_back({raw.inode, static_cast<std::uint32_t>(names.size()),
                           static_cast<std::uint16_t>(name.size()), 0, raw.type, false, whiteout});
        names.insert(names.end(), name.data(), name.data() + name.size() + 1);
    }

    bool is_whiteout(const char* text) {
        const auto answer = [&]() -> Result<bool> {
            const Name name = TRY(Name::from(text));
            const Attributes attributes = TRY(sys::stat_at(directory, name));
            return format::is_whiteout(directory, name, attributes, layer->marks, layer->rules);
        }();
        // Removed since the directory was read.
        if (!answer && answer.error() != ENOENT) error = answer.error();
        return answer.value_or(true);
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
    const int directory;
    const Layer* const layer;  // null: there are no marks
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

void MergedDirectory::add(const Part& part, const Source& source,
                          std::vector<std::uint32_t>& table) {
    const bool lower = source.layer && source.layer->lower;
    for (Entry entry : part.entries) {
        const std::string_view found(part.names.data() + entry.name_at, entry.name_size);
        std::uint32_t& slot = slot_of(
            table, found, [&](std::uint32_t index) { return name(entries_[index]) == found; });
        if (slot != kFree && !entries_[slot].whiteout) {
            entries_[slot].several = true;
            continue;
        }
        if (slot != kFree) {
            // A whiteout hides what is on read-only branches, and nothing in the pool above them.
            if (lower || entry.whiteout) continue;
            entries_[slot].inode = entry.inode;
            entries_[slot].branch = source.branch;
            entries_[slot].type = entry.type;
            entries_[slot].whiteout = false;
            continue;
        }
        slot = static_cast<std::uint32_t>(entries_.size());
        entry.name_at = static_cast<std::uint32_t>(names_.size());
        entry.branch = source.branch;
        names_.insert(names_.end(), found.data(), found.data() + found.size() + 1);
        entries_.push_back(entry);
    }
}

void MergedDirectory::add(std::string_view name, Entry entry) {
    entry.name_at = static_cast<std::uint32_t>(names_.size());
    entry.name_size = static_cast<std::uint16_t>(name.size());
    names_.insert(names_.end(), name.begin(), name.end());
    names_.push_back('\0');
    entries_.push_back(entry);
}

Result<MergedDirectory> MergedDirectory::read(std::span<const Source> sources,
                                              bool (*hides)(std::string_view),
                                              std::uint64_t stamp) {
    std::vector<Part> parts;
    parts.reserve(sources.size());
    std::vector<Part*> unfinished;
    for (const Source& source : sources) {
        Part& part = parts.emplace_back(
            TRY(sys::DirectoryReader::open(source.directory, source.spare_access_time)), source);
        // Most directories end within the first buffer, which the second call tells: handing those
        // to other threads would cost more than reading them.
        part.read_once(hides);
        if (!part.ended && part.reader.nearly_ended()) part.read_once(hides);
        if (!part.ended) unfinished.push_back(&part);
    }
    if (unfinished.size() > 1) {
        sys::for_each_in_parallel(unfinished, [&](Part* part) { part->read_on(hides); });
    } else if (unfinished.size() == 1) {
        unfinished.front()->read_on(hides);
    }

    std::size_t total = 0;
    for (const Part& part : parts) {
        if (part.error) return fail(*part.error);
        total += part.entries.size();
    }
    MergedDirectory merged;
    merged.stamp_ = stamp;
    if (parts.size() == 1 && !sources.front().layer) {
        merged.entries_ = std::move(parts.front().entries);
        merged.names_ = std::move(parts.front().names);
        for (Entry& entry : merged.entries_) entry.branch = sources.front().branch;
        return merged;
    }
    std::vector<std::uint32_t> table(std::bit_ceil(total * 2 + 1), kFree);
    merged.entries_.reserve(total);
    for (std::size_t index = 0; index < parts.size(); ++index) {
        merged.add(parts[index], sources[index], table);
    }
    std::erase_if(merged.entries_, [](const Entry& entry) { return entry.whiteout; });
    return merged;
}

}  // namespace plyfs
