DROP INDEX idx_file_association_thread_expiry, idx_file_association_chatroom_expiry, idx_file_company_size, idx_file_company_name,
    idx_file_own_size, idx_file_own_name, idx_file_own_listing;
