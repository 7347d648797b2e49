vcl 4.1;

# A cache for media URLs of Waybill in Varnish. Varnish has no HMAC, so it asks Waybill whether a URL is valid; the answer has no
# bytes and needs no query. A URL therefore ends within a second. Replace the texts between @.

backend waybill {
    .host = "@HOST@";
    .port = "@PORT@";
}

# Machines of Waybill's role content, which has files forgotten (WAYBILL_CDN_PURGE_URL).
acl waybill_content {
    "@CONTENT@";
}

sub vcl_recv {
    if (req.method == "BAN") {
        if (client.ip !~ waybill_content || req.url !~ "^/m/[0-9a-f-]{36}/[0-9a-f-]{36}/$") {
            return (synth(403));
        }
        ban("obj.http.X-Media-Path ~ ^" + req.url);
        return (synth(200));
    }
    if (req.restarts == 0) {
        if (req.url !~ "^/m/" || (req.method != "GET" && req.method != "HEAD")) {
            return (synth(404));
        }
        set req.http.X-Original-URI = req.url;
        unset req.http.X-Media-Valid;
        unset req.http.X-Media-Cache-Control;
        set req.url = "/v1/media/check";
        return (pass);
    }
    set req.url = req.http.X-Original-URI;
    if (req.http.X-Media-Valid != "yes") {
        return (synth(403));
    }
    return (hash);
}

sub vcl_hash {
    # The path names the bytes, and f whether they are shown or saved.
    hash_data(regsub(req.url, "\?.*$", ""));
    hash_data(regsub(req.url, "^.*&f=([ia]).*$", "\1"));
    return (lookup);
}

sub vcl_backend_fetch {
    if (bereq.url == "/v1/media/check") {
        set bereq.method = "GET";
    }
}

sub vcl_backend_response {
    if (bereq.url ~ "^/m/" && beresp.status == 200) {
        # The answer is private for other caches, which cannot check the signature.
        set beresp.ttl = 7d;
        unset beresp.http.Vary;
        set beresp.http.X-Media-Path = regsub(bereq.url, "\?.*$", "");
    } else {
        set beresp.ttl = 0s;
        set beresp.uncacheable = true;
    }
    return (deliver);
}

sub vcl_deliver {
    if (req.restarts == 0 && req.url == "/v1/media/check" && resp.status == 204) {
        set req.http.X-Media-Valid = "yes";
        set req.http.X-Media-Cache-Control = resp.http.Waybill-Media-Cache-Control;
        return (restart);
    }
    if (resp.status == 200 || resp.status == 206 || resp.status == 304) {
        # The browser may keep the bytes until its own URL ends, not that of the user who came first.
        set resp.http.Cache-Control = req.http.X-Media-Cache-Control;
        unset resp.http.Age;
    } else {
        set resp.http.Cache-Control = "no-store";
    }
    unset resp.http.X-Media-Path;
    unset resp.http.X-Varnish;
    unset resp.http.Via;
}

sub vcl_synth {
    set resp.http.Cache-Control = "no-store";
}
