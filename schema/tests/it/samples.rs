//! One value of every event version, with a non-default value in every field.

use uuid::Uuid;
use waybill_schema::events::*;
use waybill_schema::*;

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + n)
}

pub(crate) fn company() -> CompanyId {
    CompanyId(uuid(1))
}

pub(crate) fn upload() -> UploadId {
    UploadId(uuid(3))
}

fn settings() -> CompanySettings {
    CompanySettings {
        max_file_bytes: Some(1 << 30),
        max_session_bytes: Some(1 << 33),
        allowed_mime_types: Some(vec!["image/*".to_owned(), "application/pdf".to_owned()]),
        retention_days: Some(365),
        link_max_age_s: Some(86_400),
        link_max_downloads: Some(10),
        scan: Some(ScanPolicy::Require),
        unscanned: Some(UnscannedPolicy::Block),
        archive_after_days: Some(90),
        strip_location: Some(LocationPolicy::ForOthers),
    }
}

fn settings_before_locations() -> CompanySettingsV4 {
    CompanySettingsV4 {
        max_file_bytes: settings().max_file_bytes,
        max_session_bytes: settings().max_session_bytes,
        allowed_mime_types: settings().allowed_mime_types,
        retention_days: Some(365),
        link_max_age_s: Some(86_400),
        link_max_downloads: Some(10),
        scan: Some(ScanPolicy::Require),
        unscanned: Some(UnscannedPolicy::Block),
        archive_after_days: Some(90),
    }
}

fn settings_before_archives() -> CompanySettingsV3 {
    CompanySettingsV3 {
        max_file_bytes: settings().max_file_bytes,
        max_session_bytes: settings().max_session_bytes,
        allowed_mime_types: settings().allowed_mime_types,
        retention_days: Some(365),
        link_max_age_s: Some(86_400),
        link_max_downloads: Some(10),
        scan: Some(ScanPolicy::Require),
        unscanned: Some(UnscannedPolicy::Block),
    }
}

fn settings_before_scans() -> CompanySettingsV2 {
    CompanySettingsV2 {
        max_file_bytes: settings().max_file_bytes,
        max_session_bytes: settings().max_session_bytes,
        allowed_mime_types: settings().allowed_mime_types,
        retention_days: Some(365),
        link_max_age_s: Some(86_400),
        link_max_downloads: Some(10),
    }
}

fn plain_form() -> PlainForm {
    let pieces = vec![
        Piece::Original(ByteRange { from: 0, to: 20 }),
        Piece::Bytes(vec![0xff, 0xe1]),
        Piece::Original(ByteRange { from: 5_000, to: 9_000 }),
    ];
    PlainForm { size_bytes: 4_022, sha256: Sha256Digest([7; 32]), pieces }
}

fn started() -> UploadStartedV1 {
    UploadStartedV1 {
        company_id: company(),
        uploaded_by: UserId(uuid(2)),
        session_id: Some(SessionId(uuid(4))),
        chatroom_id: Some(ChatroomId(uuid(5))),
        thread_id: None,
        original_name: "Bericht März.pdf".to_owned(),
        mime_type: "application/pdf".to_owned(),
        size_bytes: 10_000_000_000,
        declared_sha256: Some(Sha256Digest([0xab; 32])),
        metadata: Some(r#"{"a":1}"#.to_owned()),
        part_size_bytes: 8_388_608,
        expires_at: Timestamp(1_764_000_000_000),
    }
}

fn uploaded() -> FileUploadedV1 {
    FileUploadedV1 {
        started: started(),
        sha256: Sha256Digest([0x12; 32]),
        storage_bucket: "waybill".to_owned(),
        storage_key: "o/1/3/key".to_owned(),
        sniffed_mime_type: None,
        worker_id: WorkerId(uuid(6)),
    }
}

/// Returns the samples of earlier versions: name of the golden file, version, and the expected value in the newest
/// version.
pub(crate) fn earlier() -> Vec<(&'static str, u16, Event)> {
    let redeemed =
        DownloadTokenRedeemedV1 { ip_address: [192, 0, 2, 7].into(), user_agent: Some("curl/8.5.0".to_owned()) };
    let opened = MultipartOpenedV1 {
        storage_bucket: "waybill".to_owned(),
        storage_key: "o/1/3/key".to_owned(),
        storage_upload_id: "store-upload".to_owned(),
        worker_id: WorkerId(uuid(6)),
    };
    let before = CompanySettingsV1 {
        max_file_bytes: Some(1 << 30),
        max_session_bytes: Some(1 << 33),
        allowed_mime_types: settings().allowed_mime_types,
        retention_days: Some(365),
    };
    vec![
        ("QuotaLimitSet.v1", 1, QuotaLimitSetV2::from(QuotaLimitSetV1 { storage_limit_bytes: 1 << 40 }).into()),
        (
            "CompanySettingsChanged.v1",
            1,
            CompanySettingsChangedV5::from(CompanySettingsChangedV1 { settings: before }).into(),
        ),
        (
            "CompanySettingsChanged.v2",
            2,
            CompanySettingsChangedV5::from(CompanySettingsChangedV2 { settings: settings_before_scans() }).into(),
        ),
        (
            "CompanySettingsChanged.v3",
            3,
            CompanySettingsChangedV5::from(CompanySettingsChangedV3 { settings: settings_before_archives() }).into(),
        ),
        (
            "CompanySettingsChanged.v4",
            4,
            CompanySettingsChangedV5::from(CompanySettingsChangedV4 { settings: settings_before_locations() }).into(),
        ),
        (
            "CompanyLimitsSet.v3",
            3,
            CompanyLimitsSetV4::from(CompanyLimitsSetV3 {
                limits: settings_before_locations(),
                min_retention_days: Some(7),
            })
            .into(),
        ),
        (
            "CompanyLimitsSet.v2",
            2,
            CompanyLimitsSetV4::from(CompanyLimitsSetV2 {
                limits: settings_before_archives(),
                min_retention_days: Some(7),
            })
            .into(),
        ),
        (
            "CompanyLimitsSet.v1",
            1,
            CompanyLimitsSetV4::from(CompanyLimitsSetV1 {
                limits: settings_before_scans(),
                min_retention_days: Some(7),
            })
            .into(),
        ),
        ("UploadStarted.v1", 1, UploadStartedV3::from(started()).into()),
        ("UploadStarted.v2", 2, UploadStartedV3::from(final_upload()).into()),
        ("UploadStarted.v2.quarantine", 2, of_kind(quarantine()).into()),
        ("UploadStarted.v2.partial", 2, of_kind(UploadKind::Partial).into()),
        ("UploadStarted.v2.direct", 2, of_kind(UploadKind::Direct).into()),
        ("MultipartOpened.v1", 1, MultipartOpenedV2::from(opened).into()),
        ("FileUploaded.v1", 1, FileUploadedV3::from(uploaded()).into()),
        ("FileUploaded.v2", 2, FileUploadedV3::from(uploaded_with_metadata()).into()),
        ("FileVerified.v1", 1, FileVerifiedV2::from(verified()).into()),
        ("QuotaReleased.v2", 2, QuotaReleasedV3::from(released()).into()),
        ("QuotaReserved.v2", 2, QuotaReservedV3::from(reserved_for_user()).into()),
        ("QuotaTransferred.v2", 2, QuotaTransferredV3::from(transferred_for_user()).into()),
        ("QuotaReserved.v1", 1, QuotaReservedV3::from(reserved()).into()),
        ("QuotaTransferred.v1", 1, QuotaTransferredV3::from(transferred()).into()),
        ("DownloadTokenRedeemed.v1", 1, DownloadTokenRedeemedV2::from(redeemed).into()),
        ("FileShared.v1", 1, FileSharedV2::from(shared()).into()),
    ]
}

fn final_upload() -> UploadStartedV2 {
    UploadStartedV2 {
        started: started(),
        length_deferred: true,
        kind: UploadKind::Final { partials: vec![upload()], upload_concat: "final;/tus/3".to_owned() },
        upload_metadata: Some("filename YS50eHQ=,is_confidential".to_owned()),
    }
}

fn quarantine() -> UploadKind {
    UploadKind::Quarantine { quarantine_key: "q/1/3/key".to_owned() }
}

fn of_kind(kind: UploadKind) -> UploadStartedV3 {
    UploadStartedV3 { kind, ..started().into() }
}

fn for_user(bytes_total: u64) -> ReservedItemV2 {
    let (upload_id, session_id) = (upload(), Some(SessionId(uuid(4))));
    ReservedItemV2 { upload_id, session_id, bytes_total, user_id: Some(UserId(uuid(2))) }
}

fn of_link(bytes_total: u64) -> ReservedItem {
    let link = ReservedLink { link_id: LinkId(uuid(12)), expires_at: Timestamp(1_764_000_600_000) };
    ReservedItem { link: Some(link), ..for_user(bytes_total).into() }
}

fn reserved_for_user() -> QuotaReservedV2 {
    QuotaReservedV2 { items: vec![for_user(10_000_000_000)], until: Timestamp(1_764_000_300_000) }
}

fn transferred_for_user() -> QuotaTransferredV2 {
    let from = vec![UploadId(uuid(7)), UploadId(uuid(8))];
    QuotaTransferredV2 { item: for_user(77), from, until: Timestamp(1_764_000_300_000) }
}

fn released() -> QuotaReleasedV2 {
    QuotaReleasedV2 { items: vec![ReleasedItemV2 { file_id: upload(), bytes: 77 }], recorded: vec![UploadId(uuid(7))] }
}

fn link_made() -> UploadLinkMadeV1 {
    UploadLinkMadeV1 {
        owner: UserId(uuid(2)),
        token_sha256: Sha256Digest([9; 32]),
        expires_at: Timestamp(1_764_000_600_000),
        max_files: 3,
        max_bytes: 1 << 30,
        max_file_bytes: Some(1 << 20),
        mime_types: vec!["image/*".to_owned()],
        chatroom_id: Some(ChatroomId(uuid(5))),
        thread_id: None,
        label: Some("Fotos".to_owned()),
        ask_name: true,
    }
}

fn uploaded_with_metadata() -> FileUploadedV2 {
    let FileUploadedV1 { started, sha256, storage_bucket, storage_key, sniffed_mime_type, worker_id } = uploaded();
    let upload_metadata = Some("filename YS50eHQ=,is_confidential".to_owned());
    FileUploadedV2 { started, upload_metadata, sha256, storage_bucket, storage_key, sniffed_mime_type, worker_id }
}

fn verified() -> FileVerifiedV1 {
    FileVerifiedV1 {
        sha256: Sha256Digest([0xef; 32]),
        storage_bucket: "waybill".to_owned(),
        storage_key: "o/1/3/key".to_owned(),
        sniffed_mime_type: Some("application/pdf".to_owned()),
        read_back: true,
    }
}

fn reserved() -> QuotaReservedV1 {
    QuotaReservedV1 {
        items: vec![ReservedItemV1 {
            upload_id: upload(),
            session_id: Some(SessionId(uuid(4))),
            bytes_total: 10_000_000_000,
        }],
        until: Timestamp(1_764_000_300_000),
    }
}

fn transferred() -> QuotaTransferredV1 {
    QuotaTransferredV1 {
        item: ReservedItemV1 { upload_id: upload(), session_id: Some(SessionId(uuid(4))), bytes_total: 77 },
        from: vec![UploadId(uuid(7)), UploadId(uuid(8))],
        until: Timestamp(1_764_000_300_000),
    }
}

fn shared() -> FileSharedV1 {
    FileSharedV1 {
        file_id: upload(),
        chatroom_id: Some(ChatroomId(uuid(5))),
        thread_id: Some(ThreadId(uuid(9))),
        shared_by: UserId(uuid(2)),
        access_type: AccessType::Restricted,
        permissions: Some(permissions()),
        expires_at: Some(Timestamp(1_764_000_300_000)),
    }
}

/// Returns a sample of every newest version, and one for each variant of the enums in it.
pub(crate) fn all() -> Vec<(&'static str, Event)> {
    let worker_id = WorkerId(uuid(6));
    let (user_id, chatroom_id, thread_id) = (UserId(uuid(2)), ChatroomId(uuid(5)), ThreadId(uuid(9)));
    let chunk = |storage| ChunkUploadedV1 {
        offset: 8_388_608,
        length: 8_388_608,
        crc64nvme: 0x0123_4567_89ab_cdef,
        etag: "\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned(),
        storage,
        worker_id,
        store_writes: 1,
    };
    vec![
        (
            "UploadStarted.v3",
            UploadStartedV3 { link_id: Some(LinkId(uuid(12))), ..UploadStartedV3::from(final_upload()) }.into(),
        ),
        ("UploadStarted.v3.quarantine", of_kind(quarantine()).into()),
        ("UploadStarted.v3.partial", of_kind(UploadKind::Partial).into()),
        ("UploadStarted.v3.direct", of_kind(UploadKind::Direct).into()),
        ("UploadLengthSet.v1", UploadLengthSetV1 { size_bytes: 77 }.into()),
        ("UploadConcatenated.v1", UploadConcatenatedV1 { into: upload() }.into()),
        ("QuarantineCleared.v1", QuarantineClearedV1 {}.into()),
        ("QuarantineSigned.v1", QuarantineSignedV1 { until: Timestamp(1_764_000_300_000) }.into()),
        (
            "QuarantineCopied.v1",
            QuarantineCopiedV1 {
                storage_bucket: "waybill".to_owned(),
                storage_key: "o/1/3/key".to_owned(),
                size_bytes: 77,
                worker_id,
            }
            .into(),
        ),
        (
            "MultipartOpened.v2",
            MultipartOpenedV2 {
                storage_bucket: "waybill".to_owned(),
                storage_key: "o/1/3/key".to_owned(),
                storage_upload_id: "store-upload".to_owned(),
                worker_id,
                checksum_algorithm: Some("CRC64NVME".to_owned()),
            }
            .into(),
        ),
        ("ChunkUploaded.v1", chunk(ChunkStorage::Part { part_number: 2 }).into()),
        ("ChunkUploaded.v1.staged", chunk(ChunkStorage::Staged { storage_key: "s/1/3/key".to_owned() }).into()),
        (
            "PartAssembled.v1",
            PartAssembledV1 {
                part_number: 2,
                length: 8_388_608,
                crc64nvme: 0xfedc_ba98_7654_3210,
                etag: "\"etag\"".to_owned(),
                worker_id,
                store_writes: 2,
            }
            .into(),
        ),
        ("FileCompleted.v1", FileCompletedV1 { declared_sha256: Some(Sha256Digest([0xcd; 32])) }.into()),
        ("FileVerified.v2", FileVerifiedV2 { crc32: Some(0xCBF4_3926), ..FileVerifiedV2::from(verified()) }.into()),
        (
            "FileRejected.v1",
            FileRejectedV1 { code: "digest_mismatch".to_owned(), message: "other bytes".to_owned() }.into(),
        ),
        (
            "FileUploaded.v3",
            FileUploadedV3 {
                crc32: Some(7),
                link_id: Some(LinkId(uuid(12))),
                ..FileUploadedV3::from(uploaded_with_metadata())
            }
            .into(),
        ),
        ("UploadCancelled.v1", UploadCancelledV1 {}.into()),
        ("UploadExpired.v1", UploadExpiredV1 {}.into()),
        ("FileRenamed.v1", FileRenamedV1 { display_name: "Neu.pdf".to_owned() }.into()),
        ("FileDeleted.v1", FileDeletedV1 {}.into()),
        ("FileRestored.v1", FileRestoredV1 {}.into()),
        (
            "SessionOpened.v1",
            SessionOpenedV1 { user_id: UserId(uuid(2)), session_name: Some("Umzug".to_owned()) }.into(),
        ),
        ("UploadLinkMade.v1", link_made().into()),
        ("UploadLinkRevoked.v1", UploadLinkRevokedV1 {}.into()),
        ("SessionClosed.v1", SessionClosedV1 {}.into()),
        ("SessionCancelled.v1", SessionCancelledV1 {}.into()),
        ("QuotaLimitSet.v2", QuotaLimitSetV2 { storage_limit_bytes: 1 << 40, is_of_host: true }.into()),
        (
            "QuotaReserved.v3",
            QuotaReservedV3 { items: vec![of_link(10_000_000_000)], until: Timestamp(1_764_000_300_000) }.into(),
        ),
        ("QuotaRaised.v1", QuotaRaisedV1 { upload_id: upload(), bytes_total: 134_217_728 }.into()),
        (
            "QuotaTransferred.v3",
            QuotaTransferredV3 {
                item: of_link(77),
                from: vec![UploadId(uuid(7)), UploadId(uuid(8))],
                until: Timestamp(1_764_000_300_000),
            }
            .into(),
        ),
        (
            "QuotaSettled.v1",
            QuotaSettledV1 {
                items: vec![
                    SettledItem { upload_id: upload(), bytes_used: Some(77) },
                    SettledItem { upload_id: UploadId(uuid(7)), bytes_used: None },
                ],
            }
            .into(),
        ),
        (
            "QuotaReleased.v3",
            QuotaReleasedV3 {
                items: vec![ReleasedItem { file_id: upload(), bytes: 77, user_id: Some(UserId(uuid(2))) }],
                recorded: vec![UploadId(uuid(7))],
            }
            .into(),
        ),
        (
            "QuotaUserLimitSet.v1",
            QuotaUserLimitSetV1 { user_id: Some(UserId(uuid(2))), limit_bytes: Some(1 << 30) }.into(),
        ),
        (
            "QuotaRecalculated.v1",
            QuotaRecalculatedV1 { storage_used_bytes: 77, file_count: 2, drift_bytes: -7, drift_files: 1 }.into(),
        ),
        ("CompanyRegistered.v1", CompanyRegisteredV1 { company_id: company() }.into()),
        ("CompanySettingsChanged.v5", CompanySettingsChangedV5 { settings: settings() }.into()),
        ("CompanyLimitsSet.v4", CompanyLimitsSetV4 { limits: settings(), min_retention_days: Some(7) }.into()),
        (
            "TokensInvalidated.v1",
            TokensInvalidatedV1 { user_id: Some(user_id), issued_before: Timestamp(1_790_000_000_000) }.into(),
        ),
        ("CompanyClosed.v1", CompanyClosedV1 {}.into()),
        ("UserRegistered.v1", UserRegisteredV1 { user_id }.into()),
        ("UserRemoved.v1", UserRemovedV1 { user_id }.into()),
        ("ChatroomOpened.v1", ChatroomOpenedV1 { chatroom_id }.into()),
        ("ChatroomDeleted.v1", ChatroomDeletedV1 { chatroom_id }.into()),
        ("ThreadOpened.v1", ThreadOpenedV1 { thread_id, chatroom_id: Some(chatroom_id) }.into()),
        ("ThreadDeleted.v1", ThreadDeletedV1 { thread_id }.into()),
        ("MemberAdded.v1", MemberAddedV1 { place: Place::Chatroom(chatroom_id), user_id }.into()),
        ("MemberRemoved.v1", MemberRemovedV1 { place: Place::Thread(thread_id), user_id }.into()),
        ("FileLabelled.v1", FileLabelledV1 { labels: vec!["contract".to_owned(), "signed".to_owned()] }.into()),
        ("FileMetadataChanged.v1", FileMetadataChangedV1 { metadata: Some(r#"{"a":2}"#.to_owned()) }.into()),
        ("FilePurged.v1", FilePurgedV1 {}.into()),
        ("FileSpaceReleased.v1", FileSpaceReleasedV1 {}.into()),
        ("FileScanned.v1", scanned(ScanResult::Clean)),
        ("FileScanned.v1.infected", scanned(ScanResult::Infected { signature: "Eicar-Test".to_owned() })),
        ("FileScanned.v1.unscanned", scanned(ScanResult::Unscanned { reason: UnscannedReason::Encrypted })),
        ("FileReleased.v1", FileReleasedV1 {}.into()),
        ("PreviewsMade.v1", previews().into()),
        ("PreviewFailed.v1", PreviewFailedV1 { reason: PreviewFailure::LimitsExceeded }.into()),
        ("FileArchived.v1", FileArchivedV1 { tier: StorageTier::Archive }.into()),
        ("FileRestoreRequested.v1", FileRestoreRequestedV1 {}.into()),
        ("FileThawed.v1", FileThawedV1 {}.into()),
        ("LocationStripped.v1", LocationStrippedV1 { stripped: Stripped::Removed(plain_form()) }.into()),
        ("FileChecksummed.v1", FileChecksummedV1 { form: FileForm::Plain, crc32: 0xCBF4_3926 }.into()),
        ("LocationStripped.v1.absent", LocationStrippedV1 { stripped: Stripped::Absent }.into()),
        ("LocationStripped.v1.unsupported", LocationStrippedV1 { stripped: Stripped::Unsupported }.into()),
        ("FileShared.v2", FileSharedV2 { basis: ShareBasis::Share(ShareId(uuid(10))), ..shared().into() }.into()),
        ("FileShared.v2.uploader", FileSharedV2 { basis: ShareBasis::Uploader, ..shared().into() }.into()),
        ("FileShared.v2.admin", FileSharedV2 { basis: ShareBasis::Admin, ..shared().into() }.into()),
        (
            "ShareChanged.v1",
            ShareChangedV1 { access_type: AccessType::Public, permissions: Some(permissions()), expires_at: None }
                .into(),
        ),
        ("SharePinned.v1", SharePinnedV1 { is_pinned: true }.into()),
        ("ShareRevoked.v1", ShareRevokedV1 {}.into()),
        (
            "DownloadTokenIssued.v1",
            DownloadTokenIssuedV1 {
                file_id: upload(),
                user_id,
                as_admin: false,
                token_sha256: Sha256Digest([0x34; 32]),
                expires_at: Timestamp(1_764_000_300_000),
                max_downloads: Some(3),
            }
            .into(),
        ),
        (
            "DownloadTokenRedeemed.v2",
            DownloadTokenRedeemedV2 {
                ip_address: [192, 0, 2, 7].into(),
                user_agent: Some("curl/8.5.0".to_owned()),
                request: uuid(17),
                range: ByteRange { from: 0, to: 20_000_000 },
                size_bytes: 20_000_000,
            }
            .into(),
        ),
        (
            "DownloadTokenContinued.v1",
            DownloadTokenContinuedV1 {
                claim: 1,
                ip_address: [192, 0, 2, 8].into(),
                user_agent: None,
                request: uuid(18),
                range: ByteRange { from: 7, to: 20_000_000 },
            }
            .into(),
        ),
        (
            "DownloadTokenServed.v1",
            DownloadTokenServedV1 {
                claim: 1,
                request: uuid(18),
                sent: ByteRange { from: 7, to: 20_000_000 },
                is_delivered: true,
            }
            .into(),
        ),
        ("DownloadTokenExpired.v1", DownloadTokenExpiredV1 {}.into()),
        ("DownloadTokenRevoked.v1", DownloadTokenRevokedV1 {}.into()),
        (
            "ContentShared.v1",
            ContentSharedV1 {
                file_ids: vec![upload(), UploadId(uuid(7))],
                storage_bucket: "waybill".to_owned(),
                storage_key: "o/7/x".to_owned(),
                size_bytes: 77,
            }
            .into(),
        ),
        (
            "ContentReferenced.v2",
            ContentReferencedV2 {
                file_ids: vec![UploadId(uuid(8))],
                storage_bucket: "waybill".to_owned(),
                storage_key: "o/7/x".to_owned(),
            }
            .into(),
        ),
        ("ContentReleased.v2", ContentReleasedV2 { file_id: upload(), references: 3 }.into()),
        (
            "ContentCompressed.v1",
            ContentCompressedV1 {
                file_ids: vec![UploadId(uuid(8))],
                storage_bucket: "waybill".to_owned(),
                storage_key: "o/7/8-9-zst".to_owned(),
                size_bytes: 100_000,
                stored_bytes: 20_000,
                replaced_bucket: "waybill".to_owned(),
                replaced_key: "o/7/8-x".to_owned(),
            }
            .into(),
        ),
        ("ContentNotCompressed.v1", ContentNotCompressedV1 { file_id: upload() }.into()),
        (
            "ContentMoved.v1",
            ContentMovedV1 {
                file_ids: vec![UploadId(uuid(8))],
                tier: StorageTier::Cold,
                storage_bucket: "waybill-cold".to_owned(),
                storage_key: "o/7/8-9-zst-cold".to_owned(),
                size_bytes: 100_000,
                stored_bytes: 20_000,
                replaced_bucket: "waybill".to_owned(),
                replaced_key: "o/7/8-9-zst".to_owned(),
            }
            .into(),
        ),
    ]
}

fn scanned(result: ScanResult) -> Event {
    let (engine, database_version) = ("ClamAV 1.4.6".to_owned(), "27805".to_owned());
    FileScannedV1 { result, engine, database_version, covered_bytes: 77 }.into()
}

fn previews() -> PreviewsMadeV1 {
    let stored = |variant: Variant, mime_type: &str, width| StoredVariant {
        variant,
        mime_type: mime_type.to_owned(),
        width,
        height: width / 2,
        size_bytes: 300 * u64::from(width),
    };
    PreviewsMadeV1 {
        set: uuid(21),
        variants: vec![
            stored(Variant::Preview256, "image/jpeg", 256),
            stored(Variant::Preview1024, "image/png", 1_000),
        ],
        thumbhash: vec![1, 2, 3, 0xff],
        facts: PreviewFacts { width: 4_000, height: 2_000, page_count: Some(7), duration_ms: Some(61_000) },
    }
}

fn permissions() -> Permissions {
    Permissions {
        everyone: Some(vec![Grant::View]),
        users: [(UserId(uuid(2)), vec![Grant::Download, Grant::Share, Grant::Manage])].into(),
    }
}
