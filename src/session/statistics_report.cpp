// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/statistics_report.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "plyfs_version.h"
#include "session/context.h"

namespace plyfs::session {
namespace {

using Json = nlohmann::ordered_json;  // members in the order in which they are written here

Json buckets_of(const LatencyBuckets& buckets) {
    Json result = Json::array();
    for (std::size_t bucket = 0; bucket < buckets.size(); ++bucket) {
        if (buckets[bucket] != 0) result.push_back(Json::array({bucket, buckets[bucket]}));
    }
    return result;
}

Json requests_of(const AllRequestCounts& requests) {
    Json result = Json::object();
    for (std::size_t type = 0; type < requests.size(); ++type) {
        const RequestCounts& counts = requests[type];
        const std::uint64_t number = latency_count(counts.buckets);
        if (number == 0) continue;
        const std::string name(type == 0 ? "OTHER" : kRequestNames[type]);
        result[name] = {{"count", number},
                        {"errors", counts.errors},
                        {"total_ns", counts.total},
                        {"max_ns", counts.longest},
                        {"buckets", buckets_of(counts.buckets)}};
    }
    return result;
}

Json kernel_of(const NegotiatedKernel& kernel) {
    Json features = Json::object();
    for (const NegotiatedFeature& feature : negotiated_features(kernel)) {
        features[feature.name] = feature.in_force;
    }
    return {{"protocol", std::to_string(kernel.major) + '.' + std::to_string(kernel.minor)},
            {"features", std::move(features)}};
}

Json branches_of(const Union& united) {
    const auto writable = std::ranges::count_if(
        united.branches(), [](const auto& branch) { return branch->writable(); });
    return {{"writable", writable},
            {"read_only", static_cast<std::ptrdiff_t>(united.branches().size()) - writable}};
}

Json backings_of(const passthrough::OpenFilesCounts& files) {
    using passthrough::Refusal;
    const auto refused = [&](Refusal reason) {
        return files.refused_by[static_cast<std::size_t>(reason)];
    };
    return {{"registered", files.backings},
            {"idle", files.idle_backings},
            {"attached", files.attached},
            {"taken_back", files.taken_back},
            {"taken_open", files.taken_open},
            {"registrations", files.registrations},
            {"rebound", files.rebound},
            {"refused",
             {{"no_privilege", refused(Refusal::NoPrivilege)},
              {"stacked", refused(Refusal::Stacked)},
              {"no_iterators", refused(Refusal::NoIterators)},
              {"no_descriptors", refused(Refusal::NoDescriptors)},
              {"other", refused(Refusal::Other)},
              {"off", refused(Refusal::Off)},
              {"followed", refused(Refusal::Followed)},
              {"append_only", refused(Refusal::AppendOnly)},
              {"small", refused(Refusal::Small)},
              {"beside", refused(Refusal::Beside)}}}};
}

Json copy_ups_of(const CopyUpCounts& counts) {
    return {{"made", counts.made},
            {"metadata_only", counts.metadata_only},
            {"filled", counts.filled},
            {"cloned", counts.cloned},
            {"bytes_cloned", counts.bytes_cloned},
            {"bytes_copied", counts.bytes_copied},
            {"failed", counts.failed},
            {"running", counts.running}};
}

Json daemon_of(const Restarts::Status& restarts) {
    return {{"process", ::getpid()},
            {"restarts", restarts.done},
            {"failed_restarts", restarts.failed},
            {"failed_because", restarts.reason}};
}

}  // namespace

std::string requests_to_json(const AllRequestCounts& requests) {
    return requests_of(requests).dump();
}

std::string statistics_report(const Context& context) {
    const UnionCounts united = context.united.counts();
    const passthrough::OpenFilesCounts files = context.open_files.counts();
    const std::chrono::duration<double, std::milli> uptime = context.statistics.uptime();
    const Json report = {
        {"version", PLYFS_VERSION},
        {"daemon", daemon_of(context.restarts.status())},
        {"uptime_seconds", std::round(uptime.count()) / 1000},
        {"threads", context.statistics.threads()},
        {"branches", branches_of(context.united)},
        {"kernel", kernel_of(context.kernel)},
        {"open", {{"files", united.files}, {"directories", united.directories}}},
        {"opens",
         {{"passthrough", files.passthrough_opens},
          {"cached", files.cached_opens},
          {"direct", files.direct_opens},
          {"kept_pages", files.kept_pages}}},
        {"backings", backings_of(files)},
        {"copy_ups", copy_ups_of(united.copy_ups)},
        {"nodes",
         {{"remembered", united.nodes},
          {"made", united.nodes_made},
          {"found", united.nodes_found}}},
        {"directories",
         {{"kept_open", united.cached_directories},
          {"hits", united.directory_hits},
          {"misses", united.directory_misses}}},
        {"requests", requests_of(context.statistics.requests())},
    };
    // Paths need not be text.
    return report.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace plyfs::session
