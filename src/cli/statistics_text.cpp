// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/statistics_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "session/latency_histogram.h"

namespace plyfs::cli {

namespace {

using Json = nlohmann::ordered_json;

// Three significant digits.
std::string digits(double number) {
    const int decimals = number < 9.995 ? 2 : number < 99.95 ? 1 : 0;
    return fmt::format("{:.{}f}", number, decimals);
}

template <std::size_t Count>
std::string scaled(double number, double step, const std::array<const char*, Count>& units) {
    std::size_t unit = 0;
    while (number >= step && unit + 1 < Count) {
        number /= step;
        ++unit;
    }
    return unit == 0 ? fmt::format("{:.0f} {}", number, units[0])
                     : fmt::format("{} {}", digits(number), units[unit]);
}

std::uint64_t number(const Json& object, const char* name) {
    return object.at(name).get<std::uint64_t>();
}

std::string count_text(std::uint64_t count, const char* one, const char* many) {
    return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string uptime_text(double seconds) {
    const auto whole = static_cast<std::uint64_t>(seconds);
    const std::uint64_t days = whole / 86'400;
    const std::uint64_t hours = whole / 3600 % 24;
    const std::uint64_t minutes = whole / 60 % 60;
    if (days > 0) return fmt::format("{} d {} h", days, hours);
    if (hours > 0) return fmt::format("{} h {} min", hours, minutes);
    if (minutes > 0) return fmt::format("{} min {} s", minutes, whole % 60);
    return fmt::format("{} s", whole);
}

// " (92.0 %)", or nothing where there is nothing to take a share of.
std::string share_text(std::uint64_t part, std::uint64_t rest) {
    if (part + rest == 0) return "";
    return fmt::format(" ({:.1f} %)",
                       100.0 * static_cast<double>(part) / static_cast<double>(part + rest));
}

std::string features_text(const Json& kernel) {
    std::string text = "FUSE " + kernel.at("protocol").get<std::string>();
    const char* separator = ": ";
    for (const auto& [name, in_force] : kernel.at("features").items()) {
        text += fmt::format("{}{}{}", separator, in_force.get<bool>() ? "" : "no ", name);
        separator = ", ";
    }
    return text;
}

std::string refused_text(const Json& refused) {
    constexpr std::array<std::array<const char*, 2>, 10> kReasons{
        {{"off", "turned off, or not in this kernel"},
         {"followed", "could be copied up (readers: follow)"},
         {"small", "small"},
         {"append_only", "append-only"},
         {"beside", "open otherwise already"},
         {"no_privilege", "no privilege"},
         {"stacked", "stacked too deep"},
         {"no_iterators", "not possible on the branch's file system"},
         {"no_descriptors", "too many open files"},
         {"other", "other reasons"}}};
    std::vector<std::string> parts;
    for (const auto& [name, words] : kReasons) {
        const std::uint64_t count = refused.value(name, std::uint64_t{0});
        if (count > 0) parts.push_back(fmt::format("{} {}", count, words));
    }
    return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ", "));
}

std::string copy_ups_text(const Json& copy_ups) {
    return fmt::format(
        "{} made, {} of them metadata only, {} filled later; {} cloned ({}), {} copied; {} failed, "
        "{} running",
        number(copy_ups, "made"), number(copy_ups, "metadata_only"), number(copy_ups, "filled"),
        number(copy_ups, "cloned"), size_text(number(copy_ups, "bytes_cloned")),
        size_text(number(copy_ups, "bytes_copied")), number(copy_ups, "failed"),
        number(copy_ups, "running"));
}

struct RequestLine {
    std::string name;
    std::uint64_t count = 0;
    std::uint64_t errors = 0;
    double mean = 0;  // nanoseconds, as all below
    double median = 0;
    double slow = 0;  // of a hundred one is slower
    double longest = 0;
};

RequestLine request_line(const std::string& name, const Json& request) {
    session::LatencyBuckets buckets{};
    for (const Json& pair : request.at("buckets")) {
        // What a later version splits finer is summed up in the last one.
        const auto bucket = std::min(pair.at(0).get<std::size_t>(), buckets.size() - 1);
        buckets[bucket] += pair.at(1).get<std::uint64_t>();
    }
    const std::uint64_t count = number(request, "count");
    const std::uint64_t longest = number(request, "max_ns");
    const auto total = static_cast<double>(number(request, "total_ns"));
    const auto limit = static_cast<double>(longest);
    return {name, count, number(request, "errors"),
            // A request that was not counted yet may be in the total.
            count == 0 ? 0 : std::min(total / static_cast<double>(count), limit),
            session::latency_quantile(buckets, 0.5, longest),
            session::latency_quantile(buckets, 0.99, longest), limit};
}

std::string requests_text(const Json& requests) {
    std::vector<RequestLine> lines;
    for (const auto& [name, request] : requests.items()) {
        lines.push_back(request_line(name, request));
    }
    std::ranges::sort(lines, [](const RequestLine& one, const RequestLine& other) {
        return std::tie(other.count, one.name) < std::tie(one.count, other.name);
    });
    std::string text = fmt::format("\n{:<18}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "request",
                                   "count", "errors", "mean", "p50", "p99", "max");
    for (const RequestLine& line : lines) {
        fmt::format_to(std::back_inserter(text), "{:<18}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
                       line.name, line.count, line.errors, duration_text(line.mean),
                       duration_text(line.median), duration_text(line.slow),
                       duration_text(line.longest));
    }
    return text;
}

std::string restarts_text(const Json& report) {
    const auto daemon = report.find("daemon");  // earlier versions do not restart
    const std::uint64_t restarts = daemon == report.end() ? 0 : number(*daemon, "restarts");
    return restarts == 0 ? "" : ", restarted " + count_text(restarts, "time", "times");
}

std::string text_of(const Json& report) {
    const Json& branches = report.at("branches");
    const std::uint64_t writable = number(branches, "writable");
    const Json& open = report.at("open");
    const Json& opens = report.at("opens");
    const std::uint64_t passed = number(opens, "passthrough");
    const std::uint64_t cached = number(opens, "cached");
    const std::uint64_t direct = number(opens, "direct");
    const Json& backings = report.at("backings");
    const Json& nodes = report.at("nodes");
    const Json& directories = report.at("directories");
    const std::uint64_t hits = number(directories, "hits");
    const std::uint64_t misses = number(directories, "misses");

    std::string text;
    const auto line = [&](const char* name, const std::string& value) {
        fmt::format_to(std::back_inserter(text), "{:<13}{}\n", name, value);
    };
    line("plyfs",
         fmt::format("{}, up {}{}, {}, {} ({} writable)", report.at("version").get<std::string>(),
                     uptime_text(report.at("uptime_seconds").get<double>()), restarts_text(report),
                     count_text(number(report, "threads"), "thread", "threads"),
                     count_text(writable + number(branches, "read_only"), "branch", "branches"),
                     writable));
    line("kernel", features_text(report.at("kernel")));
    line("open now",
         fmt::format("{}, {}", count_text(number(open, "files"), "file", "files"),
                     count_text(number(open, "directories"), "directory", "directories")));
    line("opens", fmt::format("{} passthrough{}, {} cached, {} of these with pages kept; {} direct",
                              passed, share_text(passed, cached + direct), cached,
                              number(opens, "kept_pages"), direct));
    line("backings",
         fmt::format("{} registered now, {} of them idle, {} attached; {} since the start",
                     number(backings, "registered"), number(backings, "idle"),
                     number(backings, "attached"), number(backings, "registrations")));
    line("not passed", refused_text(backings.at("refused")));
    line("copy-ups", copy_ups_text(report.at("copy_ups")));
    line("nodes",
         fmt::format("{} remembered; {} names led to known ones, {} made",
                     number(nodes, "remembered"), number(nodes, "found"), number(nodes, "made")));
    line("directories",
         fmt::format("{} kept open, {} hits{}, {} misses", number(directories, "kept_open"), hits,
                     share_text(hits, misses), misses));
    return text + requests_text(report.at("requests"));
}

}  // namespace

std::string duration_text(double nanoseconds) {
    constexpr std::array kUnits{"ns", "us", "ms", "s"};
    return scaled(nanoseconds, 1000, kUnits);
}

std::string size_text(std::uint64_t bytes) {
    constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    return scaled(static_cast<double>(bytes), 1024, kUnits);
}

std::optional<std::string> statistics_text(std::string_view report) {
    // The library's barrier: it throws where a member is missing or of another type.
    try {
        return text_of(Json::parse(report));
    } catch (const Json::exception&) {
        return std::nullopt;
    }
}

}  // namespace plyfs::cli
